"""Buckets that take turns: how rows are forgotten without leaving their space behind.

A row goes to the bucket of its last instant, and stays there: nothing it may
become moves it. The bucket of two turns ago has held nothing alive for one whole
width, and is emptied at once. docs/decisions/0060 has the choices refused.
"""

from datetime import datetime
from typing import Literal, NamedTuple

Bucketed = Literal[
    "authorization_code", "pushed_request", "authorization_flow", "revoked_token",
    "authorization_grant", "refresh_token",
]  # fmt: skip


class Ring(NamedTuple):
    """`buckets` of `width` seconds. A row lives `buckets - 3` widths at most."""

    width: int
    buckets: int

    def at(self, moment: datetime) -> int:
        """The bucket whose turn it is."""
        return self.at_second(int(moment.timestamp()))

    def at_second(self, second: int) -> int:
        """As `at`, of a second of the epoch."""
        return second // self.width % self.buckets

    def at_rest(self, now: datetime) -> int:
        """The one in which nothing lives."""
        return (int(now.timestamp()) // self.width - 2) % self.buckets


DAY = 86400
RINGS: dict[Bucketed, Ring] = {
    # A day, which is also how long a code's replay is recognised.
    "authorization_code": Ring(DAY, 4),
    "pushed_request": Ring(3600, 4),
    "authorization_flow": Ring(3600, 4),
    "revoked_token": Ring(3600, 4),
    # Both by the grant's last instant: 12 hours or 90 days away, 13 weeks at most.
    "authorization_grant": Ring(7 * DAY, 16),
    "refresh_token": Ring(7 * DAY, 16),
}

SEEN_JTI = Ring(15 * 60, 4)
"""Of assertions shown, each alive six minutes at most: apart, since no name says their bucket and none is read back."""

FORMER = 16
"""The bucket of grants and refresh tokens written by the version before, which names none."""


def bucket_of(table: Bucketed, expires_at: datetime) -> int:
    return RINGS[table].at(expires_at)

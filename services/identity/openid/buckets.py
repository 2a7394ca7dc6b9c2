"""Four buckets that take turns: how rows of minutes are forgotten without leaving their space behind.

A row goes to the bucket of its expiry. At any time rows may go to the bucket of
now and to the next, so the one after is that of two turns ago: every row in it
has been dead for one whole width, and it is emptied at once.
"""

from datetime import datetime
from typing import Literal

Bucketed = Literal["authorization_code", "pushed_request", "authorization_flow", "revoked_token"]

WIDTHS: dict[Bucketed, int] = {
    "authorization_code": 86400,
    "pushed_request": 3600,
    "authorization_flow": 3600,
    "revoked_token": 3600,
}
"""Seconds. Never less than a row's life; of a code, also how long its replay is recognised."""

BUCKETS = 4


def bucket_of(table: Bucketed, expires_at: datetime) -> int:
    return int(expires_at.timestamp()) // WIDTHS[table] % BUCKETS


def bucket_at_rest(table: Bucketed, now: datetime) -> int:
    """The one in which nothing lives."""
    return (int(now.timestamp()) // WIDTHS[table] + 2) % BUCKETS

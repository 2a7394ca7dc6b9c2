"""Floors: what was revoked, in memory, a moment after it was (delegation.md §4).

Only floors younger than the longest token matter, so memory is bounded. The
stream vouches for itself by heartbeats; after 800 ms without one, this process
no longer knows what was revoked, and says so.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum
from typing import Final, NamedTuple

from libs.common.access.access_token import LONGEST_LIFE, SKEW, AccessToken
from libs.common.events.identity import FloorRaised
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.identifiers import public_id

STALE_AFTER: Final = 0.8
"""Seconds without a heartbeat after which delegated tokens are judged elsewhere."""

DRIFT: Final = 0.0005
"""Seconds a second by which two clocks may part: a difference measured long ago is worth less."""

REMEMBERED: Final = LONGEST_LIFE + 2 * SKEW
"""Seconds a floor is kept: no token issued before it can still be accepted afterwards."""

MOST_FLOORS: Final = 100_000


class Verdict(Enum):
    """What the floors say of a token."""

    STANDING = "standing"
    REVOKED = "revoked"
    UNKNOWN = "unknown"
    """Our knowledge is too old, or too small: ask the issuer."""


class _Floor(NamedTuple):
    version: int | None
    not_before: float
    raised_at: float


class Floors:
    """What one process knows of revocations. `monotonic` and `wall` are clocks in seconds."""

    def __init__(
        self,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        capacity: int = MOST_FLOORS,
    ) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self._capacity = capacity
        self._floors: OrderedDict[tuple[str, str], _Floor] = OrderedDict()
        self._forgotten_until = float("-inf")
        self._vouched = float("-inf")
        self._database = DatabaseClock()
        self.caught_up = False
        """Whether the past was replayed once, from a stream that is said to hold it; a service is ready only then."""

    def raise_floor(self, caisse: CaisseSlug, event: FloorRaised) -> None:
        """Apply a revocation; twice, late or out of order makes no difference."""
        key = floor_name(event.kind, event.key, caisse)
        not_before = event.not_before.timestamp()
        known = self._floors.pop(key, None)
        version = event.version
        if known is not None:
            not_before = max(not_before, known.not_before)
            version = max((one for one in (version, known.version) if one is not None), default=None)
        self._floors[key] = _Floor(version, not_before, self._wall())
        self._forget()

    def heartbeat(self, vouched_until: datetime) -> None:
        """Every revocation committed before that instant has been applied here."""
        instant = vouched_until.timestamp()
        latest = self._database.at_most(self._monotonic())
        if latest is not None and instant > latest:
            self._database.disproven()
        self._vouched = max(self._vouched, instant)

    def monotonic(self) -> float:
        """The clock to date a question by, for `measured`."""
        return self._monotonic()

    def measured(self, database: datetime, *, asked: float) -> None:
        """The database's clock, as it was answered just now to a question of `asked` on our monotonic clock."""
        self._database.measured(database.timestamp(), asked=asked, answered=self._monotonic())

    @property
    def is_measured(self) -> bool:
        """Whether the database's clock is known at all."""
        return self._database.at_most(self._monotonic()) is not None

    @property
    def is_fresh(self) -> bool:
        """Whether all that was revoked until 800 ms ago is known here (delegation.md §4).

        Judged by the database's clock, which dates heartbeats, as it was measured apart from them: a link that lags,
        suddenly, for long or from the first day, is never taken for clocks that disagree.
        """
        latest = self._database.at_most(self._monotonic())
        return latest is not None and latest - self._vouched <= STALE_AFTER

    def judge(self, token: AccessToken) -> Verdict:
        """Whether `token` still stands. Read at every request, never cached."""
        issued_at = token.issued_at.timestamp()
        for kind, key in dependences(_named_by(token)):
            floor = self._floors.get((kind, key))
            if floor is None:
                continue
            if kind == "mandate" and floor.version is not None:
                if token.mandate is not None and token.mandate.version < floor.version:
                    return Verdict.REVOKED
            elif is_under(floor.not_before, issued_at):
                return Verdict.REVOKED
        if issued_at <= self._forgotten_until:
            return Verdict.UNKNOWN
        if token.is_delegated and not (self.caught_up and self.is_fresh):
            return Verdict.UNKNOWN
        return Verdict.STANDING

    def __len__(self) -> int:
        return len(self._floors)

    def known(self) -> dict[tuple[str, str], tuple[int | None, datetime]]:
        """By kind and key, the least version and the instant of each floor."""
        return {
            key: (floor.version, datetime.fromtimestamp(floor.not_before, UTC))
            for key, floor in self._floors.items()
        }

    def _forget(self) -> None:
        oldest_useful = self._wall() - REMEMBERED
        while self._floors:
            key, floor = next(iter(self._floors.items()))
            if floor.raised_at >= oldest_useful:
                if len(self._floors) <= self._capacity:
                    return
                # Full: tokens issued until now may have been revoked by what we drop.
                self._forgotten_until = max(self._forgotten_until, floor.raised_at)
            del self._floors[key]


class DatabaseClock:
    """What the issuer's database's clock shows at most, on ours: by round trips apart from the stream.

    A heartbeat cannot say both what time it was sent and what time it is: a link that lags looks like a clock that
    is behind. At the moment of a question the database's clock showed at most what the answer says; at the moment
    of the answer, at least that.
    """

    def __init__(self) -> None:
        self._most: float | None = None
        self._as_of = 0.0

    def measured(self, told: float, *, asked: float, answered: float) -> None:
        """`told` is the database's clock; the others are ours, before and after."""
        most = self._difference(answered)
        if most is None or most < told - answered or told - asked <= most:
            # The first, or a tighter one; or the database's clock was put forward, and what was known is void.
            self._most, self._as_of = told - asked, answered

    def disproven(self) -> None:
        """Something says that the clock was put forward: nothing is known until the next round trip."""
        self._most = None

    def at_most(self, now: float) -> float | None:
        difference = self._difference(now)
        return None if difference is None else now + difference

    def _difference(self, now: float) -> float | None:
        return None if self._most is None else self._most + (now - self._as_of) * DRIFT


class Named(NamedTuple):
    """What a token names, by public ids: whatever, once revoked, takes the token with it.

    `actors` are the person whose token it is or, in a delegated one, whoever acts and whoever answers for them.
    """

    caisse: CaisseSlug
    client_id: str
    actors: tuple[str, ...]
    sid: str | None = None
    cabinet: str | None = None
    mandate: str | None = None
    group: str | None = None


def floor_name(kind: str, key: str, caisse: CaisseSlug) -> tuple[str, str]:
    """The floor of this kind that `key` names. Two caisses may each have a client of that name; the other keys are
    unique everywhere.
    """
    return kind, f"{caisse}/{key}" if kind == "client" else key


def dependences(named: Named) -> list[tuple[str, str]]:
    """The floors that a token stands under, here and at the issuer (services/identity/openid/presented.py)."""
    keys = [floor_name("client", named.client_id, named.caisse)]
    keys += [("actor", actor) for actor in named.actors]
    others = (
        ("sid", named.sid),
        ("cabinet", named.cabinet),
        ("mandate", named.mandate),
        ("group", named.group),
    )
    return keys + [(kind, key) for kind, key in others if key is not None]


def is_under(not_before: float, issued_at: float) -> bool:
    """Whether a token issued then, in whole seconds, is dead. Strictly after: one of the same second is refused."""
    return issued_at <= not_before


def _named_by(token: AccessToken) -> Named:
    if token.actor is None or token.mandate is None:
        return Named(token.caisse, token.client_id, (token.subject,), token.sid)
    actors = [token.actor.subject]
    if token.actor.sponsor_id is not None:
        # A machine falls with the person who answers for it.
        actors.append(public_id("per", token.actor.sponsor_id))
    return Named(
        token.caisse,
        token.client_id,
        tuple(actors),
        token.sid,
        cabinet=public_id("cab", token.actor.cabinet_id),
        mandate=public_id("mdt", token.mandate.id),
        group=token.mandate.group,
    )

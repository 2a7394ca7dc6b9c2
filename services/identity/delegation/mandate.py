"""The mandate and its thirteen states: what may follow what, on whose word.

One aggregate from request to end. Every transition raises the version, so a
token from before a suspension stays dead after the resumption; final states
never change. The table is docs/explanation/delegation.md, section 2.
"""

from datetime import date, datetime
from typing import Final, Literal, NamedTuple
from uuid import UUID

import msgspec

from libs.common.access.rights import Family, Role
from libs.common.refusals import DomainError
from services.identity.delegation.term import end_of, paris_day

State = Literal[
    "legacy_lapsed",
    "requested",
    "offered",
    "active",
    "suspended",
    "declined",
    "withdrawn",
    "expired",
    "replaced",
    "revoked",
    "resigned",
    "ended",
    "void",
]
Event = Literal[
    "imported",
    "requested",
    "offered",
    "activated",
    "declined",
    "withdrawn",
    "expired",
    "narrowed",
    "widened",
    "renewed",
    "suspended",
    "resumed",
    "replaced",
    "revoked",
    "resigned",
    "ended",
    "voided",
]
Side = Literal["adherent", "cabinet", "caisse", "clock", "import", "system"]

FINAL: Final[frozenset[State]] = frozenset(
    {
        "declined",
        "withdrawn",
        "expired",
        "replaced",
        "revoked",
        "resigned",
        "ended",
        "void",
    }
)
LIVE: Final[frozenset[State]] = frozenset({"requested", "offered", "active", "suspended"})

ALL: Final = ("*",)
"""Every establishment, or every category of documents."""

SHRINKS: Final[frozenset[Event]] = frozenset(
    {"narrowed", "suspended", "replaced", "revoked", "resigned", "ended", "voided"}
)
"""What takes power away: each raises a floor under the tokens already issued."""


class NotPossible(DomainError):
    """The mandate is not in a state where this can be done."""


class WrongSide(DomainError):
    """It can be done, but not by this side: nobody accepts its own request, or lifts another's suspension."""


class Lapsed(NotPossible):
    """The time for an answer, or the mandate's last day, is over."""


class MandateChanged(DomainError):
    """Somebody changed the mandate at the same moment: look again before deciding."""


class Mandate(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a mandate. `ends_on` is its last day; dates are days in Paris."""

    id: UUID
    adherent_id: UUID
    cabinet_id: UUID
    family: Family
    role: Role
    state: State
    version: int
    scopes: tuple[str, ...]
    establishments: tuple[str, ...]
    starts_on: date | None
    ends_on: date | None
    amount_cap_cents: int | None
    machine: bool
    document_categories: tuple[str, ...]
    answer_by: datetime | None
    suspended_by: str | None
    gesture_id: UUID
    previous_id: UUID | None
    former_reference: str | None
    former_label: str | None
    proposed_by: UUID | None
    created_at: datetime
    state_at: datetime

    def is_over(self, now: datetime) -> bool:
        """Whether its last day has passed, swept or not."""
        return self.ends_on is not None and now >= end_of(self.ends_on)

    def is_unanswered(self, now: datetime) -> bool:
        """Whether the time for an answer has passed, swept or not. Due at noon fails at noon."""
        return self.answer_by is not None and now >= self.answer_by

    def is_in_force(self, now: datetime) -> bool:
        """Whether it gives power at this instant."""
        started = self.starts_on is not None and self.starts_on <= paris_day(now)
        return self.state == "active" and started and not self.is_over(now)


class Move(NamedTuple):
    """A line of the table: from where, to where, on whose word."""

    sources: frozenset[State]
    target: State
    sides: frozenset[Side]


def _move(sources: str, target: State, sides: str) -> Move:
    return Move(frozenset(sources.split()), target, frozenset(sides.split()))  # type: ignore[arg-type]


MOVES: Final[dict[Event, tuple[Move, ...]]] = {
    "offered": (_move("legacy_lapsed", "offered", "adherent"),),
    "activated": (
        _move("requested", "active", "adherent"),
        _move("offered", "active", "cabinet"),
    ),
    "declined": (
        _move("requested", "declined", "adherent"),
        _move("offered", "declined", "cabinet"),
    ),
    "withdrawn": (
        _move("requested", "withdrawn", "cabinet"),
        _move("offered", "withdrawn", "adherent"),
    ),
    "expired": (_move("requested offered", "expired", "clock"),),
    "narrowed": (_move("active", "active", "adherent cabinet"),),
    "widened": (_move("active", "active", "adherent"),),
    "renewed": (_move("active", "active", "adherent"),),
    "suspended": (_move("active", "suspended", "adherent caisse system"),),
    "resumed": (_move("suspended", "active", "adherent caisse"),),
    "replaced": (_move("active suspended", "replaced", "adherent cabinet"),),
    "revoked": (_move("active suspended", "revoked", "adherent caisse"),),
    "resigned": (_move("active suspended", "resigned", "cabinet"),),
    "ended": (_move("active suspended", "ended", "clock"),),
    "voided": (_move("requested offered active suspended", "void", "caisse system"),),
}
"""Moves of an existing mandate. `imported`, `requested` and `offered` also begin one."""

FIRST: Final[dict[Event, State]] = {
    "imported": "legacy_lapsed",
    "requested": "requested",
    "offered": "offered",
}


def target_of(mandate: Mandate, event: Event, side: Side, now: datetime) -> State:
    """Where `event` takes the mandate on the word of `side`, clocks judged now.

    Raises `NotPossible` for any move that is not in the table, `WrongSide` when the
    move belongs to somebody else, and `Lapsed` when a clock already ended the
    mandate, whether or not the sweeper has written so.
    """
    for move in MOVES.get(event, ()):
        if mandate.state in move.sources:
            if side not in move.sides or (event == "resumed" and side != mandate.suspended_by):
                raise WrongSide
            _clocks_allow(mandate, event, now)
            return move.target
    raise NotPossible


def _clocks_allow(mandate: Mandate, event: Event, now: datetime) -> None:
    unanswered = mandate.is_unanswered(now)
    over = mandate.state in LIVE and mandate.is_over(now)
    if (event == "expired" and not unanswered) or (event == "ended" and not over):
        raise NotPossible
    if event not in ("expired", "ended", "voided", "replaced") and (unanswered or over):
        raise Lapsed

"""The table of delegation.md §2: every move in it is made, every other is refused."""

from datetime import UTC, date, datetime, timedelta
from itertools import product
from typing import get_args

import msgspec
import pytest

from libs.common.values.identifiers import new_id
from services.identity.delegation.mandate import (
    ALL,
    FINAL,
    FIRST,
    LIVE,
    MOVES,
    Event,
    Lapsed,
    Mandate,
    NotPossible,
    Side,
    State,
    WrongSide,
    target_of,
)

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
STATES: tuple[State, ...] = get_args(State)
EVENTS: tuple[Event, ...] = get_args(Event)
SIDES: tuple[Side, ...] = get_args(Side)

# Written out from delegation.md §2, apart from the code: from, to, who.
TABLE: set[tuple[str, str, str, str]] = {
    ("legacy_lapsed", "offered", "offered", "adherent"),
    ("requested", "activated", "active", "adherent"),
    ("offered", "activated", "active", "cabinet"),
    ("requested", "declined", "declined", "adherent"),
    ("offered", "declined", "declined", "cabinet"),
    ("requested", "withdrawn", "withdrawn", "cabinet"),
    ("offered", "withdrawn", "withdrawn", "adherent"),
    ("requested", "expired", "expired", "clock"),
    ("offered", "expired", "expired", "clock"),
    ("active", "narrowed", "active", "adherent"),
    ("active", "narrowed", "active", "cabinet"),
    ("active", "widened", "active", "adherent"),
    ("active", "renewed", "active", "adherent"),
    ("active", "suspended", "suspended", "adherent"),
    ("active", "suspended", "suspended", "caisse"),
    ("active", "suspended", "suspended", "system"),
    ("suspended", "resumed", "active", "adherent"),
    *{
        (state, "replaced", "replaced", side)
        for state in ("active", "suspended")
        for side in ("adherent", "cabinet")
    },
    *{
        (state, "revoked", "revoked", side)
        for state in ("active", "suspended")
        for side in ("adherent", "caisse")
    },
    *{(state, "resigned", "resigned", "cabinet") for state in ("active", "suspended")},
    *{(state, "ended", "ended", "clock") for state in ("active", "suspended")},
    *{(state, "voided", "void", side) for state in LIVE for side in ("caisse", "system")},
}


def a_mandate(state: State, *, late: bool = False) -> Mandate:
    """A mandate of that state, suspended by its firm; `late` puts its clock in the past."""
    waiting = state in ("requested", "offered")
    return Mandate(
        id=new_id(),
        adherent_id=new_id(),
        cabinet_id=new_id(),
        family="contributions",
        role="principal",
        state=state,
        version=3,
        scopes=("declaration.read",),
        establishments=ALL,
        starts_on=date(2026, 1, 1),
        ends_on=date(2026, 11, 22) if late and not waiting else date(2026, 12, 31),
        amount_cap_cents=None,
        machine=False,
        document_categories=ALL,
        answer_by=(NOW if late else NOW + timedelta(days=1)) if waiting else None,
        suspended_by="adherent" if state == "suspended" else None,
        gesture_id=new_id(),
        previous_id=None,
        former_reference=None,
        former_label=None,
        proposed_by=None,
        created_at=NOW,
        state_at=NOW,
    )


@pytest.mark.parametrize("state", STATES)
def test_only_the_moves_of_the_table_are_made(state: State) -> None:
    for event, side in product(EVENTS, SIDES):
        mandate = a_mandate(state, late=event in ("expired", "ended"))
        allowed = {
            target for source, name, target, who in TABLE if (source, name, who) == (state, event, side)
        }
        try:
            made = {target_of(mandate, event, side, NOW)}
        except (NotPossible, WrongSide):
            made = set[State]()
        assert made == allowed, (event, side)


def test_thirteen_states_and_no_way_out_of_a_final_one() -> None:
    assert len(STATES) == 13
    assert len(FINAL) == 8
    assert not [move for moves in MOVES.values() for move in moves if move.sources & FINAL]


def test_nothing_begins_in_force() -> None:
    assert set(FIRST.values()) == {"legacy_lapsed", "requested", "offered"}


@pytest.mark.parametrize("state", ["requested", "offered"])
def test_an_answer_due_at_noon_is_refused_at_noon_though_nobody_swept(state: State) -> None:
    for event, side in (("activated", "adherent"), ("activated", "cabinet"), ("declined", "cabinet")):
        with pytest.raises((Lapsed, WrongSide)):
            target_of(a_mandate(state, late=True), event, side, NOW)  # type: ignore[arg-type]


def test_a_clock_does_not_run_early() -> None:
    for state, event in (("offered", "expired"), ("active", "ended")):
        with pytest.raises(NotPossible):
            target_of(a_mandate(state), event, "clock", NOW)  # type: ignore[arg-type]


def test_suspended_by_the_caisse_is_not_resumed_by_the_firm() -> None:
    """Case 13."""
    mandate = msgspec.structs.replace(a_mandate("suspended"), suspended_by="caisse")

    with pytest.raises(WrongSide):
        target_of(mandate, "resumed", "adherent", NOW)
    assert target_of(mandate, "resumed", "caisse", NOW) == "active"


def test_a_last_day_counts_until_midnight_in_paris() -> None:
    mandate = a_mandate("active")

    assert mandate.is_in_force(datetime(2026, 12, 31, 22, 59, tzinfo=UTC))
    assert not mandate.is_in_force(datetime(2026, 12, 31, 23, 0, tzinfo=UTC))

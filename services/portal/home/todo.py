"""À faire: what is late or due, most urgent first. Pure: facts in, lines out."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Literal

from msgspec import Struct

from services.portal.home.facts import Delegation, Standing, Statement

SOON = timedelta(days=45)
RENEWAL = timedelta(days=60)


class ToDo(Struct, frozen=True):
    """One line: what, until when, how much. `subject` names the cabinet or the period it is about.

    `about` tells the delegations of one cabinet apart.
    """

    kind: Literal["late", "pay", "answer", "renew"]
    subject: str = ""
    sentence: str = ""
    due_on: date | None = None
    amount_cents: int | None = None
    mandate: str = ""
    about: str = ""

    @property
    def is_late(self) -> bool:
        return self.kind == "late"


def to_do(
    standing: Standing | None,
    statements: Sequence[Statement] | None,
    delegations: Sequence[Delegation] | None,
    today: date,
) -> list[ToDo]:
    """Late things first, then by date; what no service told is left out, never guessed."""
    lines = [
        ToDo(kind="late", sentence=reason.remedy, due_on=reason.due_on, amount_cents=reason.amount_cents)
        for reason in (standing.reasons if standing else ())
    ]
    lines += [
        ToDo(kind="pay", subject=owed.period, due_on=owed.due_on, amount_cents=owed.rest_cents)
        for owed in statements or ()
        if owed.rest_cents > 0 and today <= owed.due_on <= today + SOON
    ]
    for mandate in delegations or ():
        if mandate.state == "requested":
            lines.append(_of(mandate, "answer", mandate.answer_by.date() if mandate.answer_by else None))
        elif mandate.state == "active" and mandate.ends_on and mandate.ends_on <= today + RENEWAL:
            lines.append(_of(mandate, "renew", mandate.ends_on))
    return sorted(lines, key=lambda line: (not line.is_late, line.due_on or date.max))


def _of(mandate: Delegation, kind: Literal["answer", "renew"], due_on: date | None) -> ToDo:
    return ToDo(
        kind=kind, subject=mandate.cabinet_name, due_on=due_on, mandate=mandate.id, about=mandate.about
    )

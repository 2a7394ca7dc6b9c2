"""Writes the effects of a decision, all or nothing, and tells who lost a race."""

from collections.abc import Sequence
from uuid import UUID

from libs.common.database import journal
from libs.common.database.journal import Act
from libs.common.database.pool import Database
from libs.common.database.transaction import RaceLost
from libs.common.values.caisse_slug import CaisseSlug
from services.identity.openid.answers import Answer, Decision, refusal_answer
from services.identity.openid.effect_store import shares_a_message, together, values_of
from services.identity.openid.effects import Effect, NoteOnce, SpendPass
from services.identity.openid.remembered import Remembered
from services.identity.openid.snapshot import Snapshot


class LostRace(Exception):
    """Somebody else made this change first; everything of this decision is undone, `stands` apart."""

    def __init__(self, effect: Effect) -> None:
        super().__init__(type(effect).__name__)
        self.effect = effect


async def write(db: Database, caisse: CaisseSlug, changes: Sequence[Effect]) -> None:
    """All of `changes` or none, by one message. Raises `LostRace`."""
    try:
        await _send(db, caisse, together(tuple(map(type, changes))), changes)
    except RaceLost as lost:
        raise LostRace(changes[lost.place]) from lost


async def write_what_stands(
    db: Database, caisse: CaisseSlug, changes: Sequence[Effect], lost: LostRace
) -> None:
    """Of a decision that lost: what is true all the same, and what the loss itself calls for.

    Should the process die before, nobody had an answer, and nothing was obtained.
    """
    standing = [*(change for change in changes if change.stands), *lost.effect.aftermath]
    if standing:
        statement = together(tuple(map(type, standing)), judged=False)
        await _send(db, caisse, statement, standing)


async def _send(db: Database, caisse: CaisseSlug, statement: str, changes: Sequence[Effect]) -> None:
    await db.write_alone(caisse, statement, values_of(changes, caisse), shares=shares_a_message(changes))


async def commit(db: Database, caisse: CaisseSlug, decision: Decision, snapshot: Snapshot) -> Answer:
    """The answer once its effects are written; the loser's refusal when one of them lost."""
    changes = _unwritten(caisse, decision.effects)
    if not changes:
        return decision.answer
    try:
        await write(db, caisse, changes)
        _remember(caisse, changes)
        return decision.answer
    except LostRace as lost:
        await write_what_stands(db, caisse, [*changes, *_line_of(lost, snapshot)], lost)
        return refusal_answer(lost.effect.lost, snapshot)


_written: Remembered[UUID, bool] = Remembered(4096)
"""Lines of the minute that this process wrote: a flood of refusals costs no write each."""


def _unwritten(caisse: CaisseSlug, changes: Sequence[Effect]) -> list[Effect]:
    return [
        change
        for change in changes
        if not isinstance(change, NoteOnce)
        or _written.get(journal.id_once(change.act, change.what, caisse)) is None
    ]


def _remember(caisse: CaisseSlug, changes: Sequence[Effect]) -> None:
    for change in changes:
        if isinstance(change, NoteOnce):
            _written.put(journal.id_once(change.act, change.what, caisse), True, 1)


def _line_of(lost: LostRace, snapshot: Snapshot) -> list[NoteOnce]:
    """Something good once was shown twice; whoever is merely too fast is in the figures."""
    if snapshot.client is None or isinstance(lost.effect, SpendPass):
        return []
    kind = type(lost.effect).__name__
    act = Act(
        action="request.replayed",
        subject_kind="client",
        subject_id=snapshot.client.client_id,
        at=snapshot.now,
        details={"lost": kind, "error": lost.effect.lost.error},
    )
    return [NoteOnce(act, kind)]

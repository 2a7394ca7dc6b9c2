"""Writes the effects of a decision, all or nothing, and tells who lost a race."""

from collections.abc import Sequence

from libs.common.database.pool import Database
from libs.common.database.transaction import RaceLost
from libs.common.values.caisse_slug import CaisseSlug
from services.identity.openid.effect_store import shares_a_message, together, values_of
from services.identity.openid.effects import Effect, RelyOnStanding
from services.identity.openid.kernel import Answer, Decision, refusal_answer
from services.identity.openid.snapshot import Snapshot


class LostRace(Exception):
    """Somebody else made this change first; everything of this decision is undone, `stands` apart."""

    def __init__(self, effect: Effect) -> None:
        super().__init__(type(effect).__name__)
        self.effect = effect


class DecidedTooSoon(Exception):
    """What the decision relied on was revoked meanwhile; nothing was written, and it is to be taken anew."""


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
    """The answer once its effects are written; the loser's refusal when one of them lost.

    Raises `DecidedTooSoon`.
    """
    if not decision.effects:
        return decision.answer
    try:
        await write(db, caisse, decision.effects)
        return decision.answer
    except LostRace as lost:
        if isinstance(lost.effect, RelyOnStanding):
            raise DecidedTooSoon from lost
        await write_what_stands(db, caisse, decision.effects, lost)
        return refusal_answer(lost.effect.lost, snapshot)

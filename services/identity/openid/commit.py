"""Writes the effects of a decision, all or nothing, and tells who lost a race."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from libs.common.access import proof_memory
from libs.common.database import journal, outbox
from libs.common.database.pool import Database
from libs.common.database.transaction import Tx
from libs.common.values.caisse_slug import CaisseSlug
from services.identity.openid import effects, store
from services.identity.openid.effects import Effect
from services.identity.openid.kernel import Answer, Decision, refusal_answer
from services.identity.openid.snapshot import Snapshot


class LostRace(Exception):
    """Somebody else made this change first; everything of this decision is undone."""

    def __init__(self, effect: Effect) -> None:
        super().__init__(type(effect).__name__)
        self.effect = effect


async def _remember_proof(tx: Tx, effect: effects.RememberProof) -> bool:
    return await proof_memory.remember(tx, effect.proof)


async def _record(tx: Tx, effect: effects.Record) -> None:
    await outbox.record(tx, effect.event)


async def _note(tx: Tx, effect: effects.Note) -> None:
    await journal.record(tx, effect.act)


WRITERS: dict[type[Effect], Callable[[Tx, Any], Awaitable[bool | None]]] = {
    effects.RememberJti: store.remember_jti,
    effects.RememberProof: _remember_proof,
    effects.RevokeGrant: store.revoke_grant,
    effects.ConsumeCode: store.consume_code,
    effects.StoreRefresh: store.store_refresh,
    effects.RotateRefresh: store.rotate_refresh,
    effects.ProlongRefresh: store.prolong_refresh,
    effects.RevokeToken: store.revoke_token,
    effects.StorePushedRequest: store.store_pushed,
    effects.SpendPushedRequest: store.spend_pushed,
    effects.StoreGrant: store.store_grant,
    effects.FinishFlow: store.finish_flow,
    effects.RememberConsent: store.remember_consent,
    effects.Record: _record,
    effects.Note: _note,
}


async def write(tx: Tx, changes: Sequence[Effect]) -> None:
    """Within the caller's transaction. Raises `LostRace`."""
    for effect in changes:
        if await WRITERS[type(effect)](tx, effect) is False:
            raise LostRace(effect)


async def commit(db: Database, caisse: CaisseSlug, decision: Decision, snapshot: Snapshot) -> Answer:
    """The answer once its effects are written; the loser's refusal when one of them lost."""
    if not decision.effects:
        return decision.answer
    try:
        async with db.transaction(caisse) as tx:
            await write(tx, decision.effects)
        return decision.answer
    except LostRace as lost:
        if lost.effect.aftermath:
            async with db.transaction(caisse) as tx:
                await write(tx, lost.effect.aftermath)
        return refusal_answer(lost.effect.lost, snapshot)

"""Power set aside for a while, and given back by the side that set it aside."""

from datetime import datetime
from uuid import UUID

from libs.common.database.transaction import Tx
from services.identity.delegation import write_down
from services.identity.delegation.once import Receipt, already_done, mandate_of_adherent
from services.identity.delegation.parties import MayManageMandates


async def suspend(tx: Tx, by: MayManageMandates, mandate_id: UUID, *, key: str, now: datetime) -> Receipt:
    """The mandate gives nothing until its firm resumes it; its dates go on running.

    Records `MandateSuspended` and a floor. Raises `NotFound`, `NotPossible`,
    `Lapsed`, `MandateChanged`, `KeyReused`.
    """
    mandate = await mandate_of_adherent(tx, mandate_id, by.adherent_id)
    if done := await already_done(tx, key, "suspend", by.person_id, [mandate_id], now, asked=mandate_id):
        return done
    told = {"suspended_by": "adherent"}
    return Receipt((await write_down.move(tx, mandate, "suspended", by.hand, now, told=told, **told),))


async def resume(tx: Tx, by: MayManageMandates, mandate_id: UUID, *, key: str, now: datetime) -> Receipt:
    """Give the consented power back. The tokens of before the suspension stay dead.

    Records `MandateResumed`. Raises `WrongSide` when the caisse, or a risk rule,
    suspended it; else as `suspend`.
    """
    mandate = await mandate_of_adherent(tx, mandate_id, by.adherent_id)
    if done := await already_done(tx, key, "resume", by.person_id, [mandate_id], now, asked=mandate_id):
        return done
    return Receipt((await write_down.move(tx, mandate, "resumed", by.hand, now),))

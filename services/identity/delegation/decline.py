"""The side that was asked says no."""

from datetime import datetime
from uuid import UUID

from libs.common.database.transaction import Tx
from services.identity.delegation import write_down
from services.identity.delegation.once import Receipt, already_done, mandate_of_adherent, mandate_of_cabinet
from services.identity.delegation.parties import MayAnswerForCabinet, MayManageMandates


async def decline(
    tx: Tx, by: MayAnswerForCabinet | MayManageMandates, mandate_id: UUID, *, key: str, now: datetime
) -> Receipt:
    """Refuse the firm's offer, or the cabinet's request. Nothing prevents asking again.

    Records `MandateDeclined`. Raises `NotFound`, `NotPossible`, `Lapsed`,
    `WrongSide`, `MandateChanged`, `KeyReused`.
    """
    if isinstance(by, MayAnswerForCabinet):
        mandate = await mandate_of_cabinet(tx, mandate_id, by.cabinet_id)
    else:
        mandate = await mandate_of_adherent(tx, mandate_id, by.adherent_id)
    if done := await already_done(tx, key, "decline", by.person_id, [mandate_id], now, asked=mandate_id):
        return done
    return Receipt((await write_down.move(tx, mandate, "declined", by.hand, now),))

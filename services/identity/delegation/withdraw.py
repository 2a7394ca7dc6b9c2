"""The side that asked takes its offer, or its request, back before an answer."""

from datetime import datetime
from uuid import UUID

from libs.common.database.transaction import Tx
from services.identity.delegation import write_down
from services.identity.delegation.once import Receipt, already_done, mandate_of_adherent, mandate_of_cabinet
from services.identity.delegation.parties import MayAnswerForCabinet, MayManageMandates


async def withdraw(
    tx: Tx, by: MayManageMandates | MayAnswerForCabinet, mandate_id: UUID, *, key: str, now: datetime
) -> Receipt:
    """Take back what nobody has answered yet.

    Records `MandateWithdrawn`. Raises `NotFound`, `NotPossible`, `Lapsed`,
    `WrongSide`, `MandateChanged`, `KeyReused`.
    """
    if isinstance(by, MayAnswerForCabinet):
        mandate = await mandate_of_cabinet(tx, mandate_id, by.cabinet_id)
    else:
        mandate = await mandate_of_adherent(tx, mandate_id, by.adherent_id)
    if done := await already_done(tx, key, "withdraw", by.person_id, [mandate_id], now, asked=mandate_id):
        return done
    return Receipt((await write_down.move(tx, mandate, "withdrawn", by.hand, now),))

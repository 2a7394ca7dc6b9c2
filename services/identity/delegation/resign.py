"""The cabinet gives a mandate up."""

from datetime import datetime
from uuid import UUID

from libs.common.database.transaction import Tx
from services.identity.delegation import write_down
from services.identity.delegation.notices import Notices
from services.identity.delegation.once import Receipt, already_done, mandate_of_cabinet
from services.identity.delegation.parties import MayAnswerForCabinet


async def resign(
    tx: Tx, by: MayAnswerForCabinet, mandate_id: UUID, *, key: str, now: datetime, notices: Notices
) -> Receipt:
    """End an active or suspended mandate for good, from the cabinet's side.

    Records `MandateResigned` and raises a floor. Raises `NotFound`, `NotPossible`,
    `Lapsed`, `MandateChanged`, `KeyReused`.
    """
    mandate = await mandate_of_cabinet(tx, mandate_id, by.cabinet_id)
    if done := await already_done(tx, key, "resign", by.person_id, [mandate_id], now, asked=mandate_id):
        return done
    resigned = await write_down.move(tx, mandate, "resigned", by.hand, now)
    await notices.resigned(tx, resigned, now)
    return Receipt((resigned,))

"""The firm takes its power back, at once and everywhere."""

from datetime import datetime
from uuid import UUID

from libs.common.database.transaction import Tx
from services.identity.delegation import write_down
from services.identity.delegation.notices import Notices
from services.identity.delegation.once import Receipt, already_done, mandate_of_adherent
from services.identity.delegation.parties import MayManageMandates


async def revoke(
    tx: Tx, by: MayManageMandates, mandate_id: UUID, *, key: str, now: datetime, notices: Notices
) -> Receipt:
    """End an active or suspended mandate for good. No step-up: taking power away is never made hard.

    Records `MandateRevoked`, and a floor that kills the tokens under it in every
    service. Raises `NotFound`, `NotPossible`, `Lapsed`, `MandateChanged`, `KeyReused`.
    """
    mandate = await mandate_of_adherent(tx, mandate_id, by.adherent_id)
    if done := await already_done(tx, key, "revoke", by.person_id, [mandate_id], now, asked=mandate_id):
        return done
    revoked = await write_down.move(tx, mandate, "revoked", by.hand, now)
    await notices.revoked(tx, revoked, now)
    return Receipt((revoked,))

"""A party has gone, or is refused: every live mandate of it ends at once, and nothing is transferred."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

from libs.common.database.transaction import Tx
from services.identity.delegation import store, write_down
from services.identity.delegation.mandate import Mandate
from services.identity.delegation.parties import SYSTEM

Reason = Literal[
    "adherent_struck_off", "adherent_merged", "cabinet_struck_off", "cabinet_merged", "cabinet_denied"
]


async def void_of_cabinet(tx: Tx, cabinet_id: UUID, reason: Reason, now: datetime) -> list[Mandate]:
    """Void the cabinet's live mandates in the caisse of `tx`. Records `MandateVoided` and floors."""
    return [await _void(tx, mandate, reason, now) for mandate in await store.live_of_cabinet(tx, cabinet_id)]


async def void_of_adherents(
    tx: Tx, adherent_ids: Sequence[UUID], reason: Reason, now: datetime
) -> list[Mandate]:
    """Void the firms' live mandates. Records `MandateVoided` and floors."""
    return [
        await _void(tx, mandate, reason, now) for mandate in await store.live_of_adherents(tx, adherent_ids)
    ]


async def _void(tx: Tx, mandate: Mandate, reason: Reason, now: datetime) -> Mandate:
    return await write_down.move(tx, mandate, "voided", SYSTEM, now, told={"reason": reason})

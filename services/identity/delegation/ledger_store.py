"""The SQL of the ledger of mandates."""

from datetime import datetime
from uuid import UUID

from libs.common.database.transaction import Tx


async def note(
    tx: Tx, event_id: UUID, mandate_id: UUID, at: datetime, person_id: UUID | None, action: str, what: str
) -> None:
    """Add one act; a mandate that this caisse does not know is passed over."""
    await tx.execute(
        """
        INSERT INTO mandate_act (event_id, caisse, mandate_id, at, person_id, action, object)
        SELECT $1, mandate.caisse, mandate.id, $3, $4, $5, $6
          FROM mandate
         WHERE mandate.id = $2
        ON CONFLICT (event_id) DO NOTHING
        """,
        event_id,
        mandate_id,
        at,
        person_id,
        action,
        what,
    )

"""The SQL of the ledger of mandates."""

from datetime import datetime
from uuid import UUID

from libs.common.database.transaction import Tx


async def note(
    tx: Tx,
    event_id: UUID,
    mandate_id: UUID,
    at: datetime,
    person_id: UUID | None,
    client_id: str | None,
    action: str,
    what: str,
) -> None:
    """Add one act, of a person or else of the machine that the client is; an unknown mandate is passed over."""
    await tx.execute(
        """
        INSERT INTO mandate_act (event_id, caisse, mandate_id, at, person_id, machine_id, action, object)
        SELECT $1, mandate.caisse, mandate.id, $3, $4, machine.id, $6, $7
          FROM mandate
          LEFT JOIN machine_client AS machine
                 ON machine.client_id = $5 AND machine.cabinet_id = mandate.cabinet_id AND $4::uuid IS NULL
         WHERE mandate.id = $2
        ON CONFLICT (event_id) DO NOTHING
        """,
        event_id,
        mandate_id,
        at,
        person_id,
        client_id,
        action,
        what,
    )

"""Hearing a fact twice changes nothing: its id is noted in the transaction of its effect."""

from datetime import timedelta
from typing import Final
from uuid import UUID

from libs.common.database.forgetting import BATCH
from libs.common.database.transaction import Tx

KEPT: Final = timedelta(days=90)
"""Longer than a fact may come again: 30 days in the outbox that refills a wiped stream, then 30 in that stream."""


async def first_time(tx: Tx, event_id: UUID, *, consumer: str) -> bool:
    """Note that `consumer` heard this event; False when it had already."""
    noted = await tx.execute(
        """
        INSERT INTO inbox (caisse, consumer, event_id) VALUES ($1, $2, $3)
        ON CONFLICT (consumer, event_id) DO NOTHING
        """,
        tx.the_caisse,
        consumer,
        event_id,
    )
    return noted == 1


async def forget_heard(tx: Tx, limit: int = BATCH) -> int:
    """Drop what was heard longer ago than `KEPT`, at most `limit` at a time; how many went."""
    return await tx.execute(
        """
        DELETE FROM inbox
         WHERE (consumer, event_id) IN (
            SELECT consumer, event_id FROM inbox
             WHERE heard_at < now() - $1::interval
             ORDER BY heard_at
             LIMIT $2)
        """,
        KEPT,
        limit,
    )

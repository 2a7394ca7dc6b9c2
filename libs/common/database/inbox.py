"""Hearing a fact twice changes nothing: its id is noted in the transaction of its effect."""

from uuid import UUID

from libs.common.database.transaction import Tx


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

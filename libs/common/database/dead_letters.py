"""Facts that a consumer could not digest, kept whole until somebody mends the cause and replays them."""

from uuid import UUID

from libs.common.database.transaction import Tx


async def lay_aside(tx: Tx, *, consumer: str, event_id: UUID, subject: str, body: bytes, reason: str) -> None:
    """Keep the bytes of a fact that failed for good; twice the same is once."""
    await tx.execute(
        """
        INSERT INTO dead_letter (caisse, consumer, event_id, subject, body, reason)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (consumer, event_id) DO NOTHING
        """,
        tx.the_caisse,
        consumer,
        event_id,
        subject,
        body,
        reason,
    )

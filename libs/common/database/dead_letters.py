"""Facts that a consumer could not digest, kept whole until somebody mends the cause and has them heard again."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from libs.common.database.transaction import Tx


class LaidAside(NamedTuple):
    """One fact that waits for somebody; its body is not shown."""

    caisse: str
    consumer: str
    event_id: UUID
    subject: str
    reason: str
    at: datetime


async def lay_aside(tx: Tx, *, consumer: str, event_id: UUID, subject: str, body: bytes, reason: str) -> None:
    """Keep the bytes of a fact that failed for good; twice the same is once, with the last reason."""
    await tx.execute(
        """
        INSERT INTO dead_letter (caisse, consumer, event_id, subject, body, reason)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (consumer, event_id) DO UPDATE SET at = clock_timestamp(), reason = EXCLUDED.reason
        """,
        tx.the_caisse,
        consumer,
        event_id,
        subject,
        body,
        reason,
    )


async def every(tx: Tx) -> list[LaidAside]:
    """What is aside in the transaction's reach, oldest first; the relay's role sees every caisse."""
    rows = await tx.fetch(
        "SELECT caisse, consumer, event_id, subject, reason, at FROM dead_letter ORDER BY at, event_id"
    )
    return [LaidAside(*row) for row in rows]


async def take_back(tx: Tx, one: LaidAside) -> None:
    """It is to be heard again. One laid aside anew since `one` was read stays."""
    await tx.execute(
        "DELETE FROM dead_letter WHERE consumer = $1 AND event_id = $2 AND at = $3",
        one.consumer,
        one.event_id,
        one.at,
    )

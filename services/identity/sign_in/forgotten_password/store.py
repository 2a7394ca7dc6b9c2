"""Rows of mailed links that set a password."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from libs.common.database.forgetting import BATCH
from libs.common.database.transaction import Tx


class Reset(NamedTuple):
    """A mailed link that sets a password. `disavowed_from`: it also removes the application added at that instant."""

    person_id: UUID
    disavowed_from: datetime | None


async def supersede_resets(tx: Tx, person_id: UUID, *, now: datetime, disavowals_too: bool = False) -> None:
    """End the links mailed before. Those that disavow an application outlive what a thief may ask or change."""
    await tx.execute(
        """
        UPDATE password_reset SET ended_at = $2
         WHERE person_id = $1 AND ended_at IS NULL AND ($3 OR disavowed_from IS NULL)
        """,
        person_id,
        now,
        disavowals_too,
    )


async def add_reset(
    tx: Tx,
    reset_id: UUID,
    token_hash: bytes,
    *,
    person_id: UUID,
    now: datetime,
    expires_at: datetime,
    disavowed_from: datetime | None = None,
) -> None:
    await tx.execute(
        """
        INSERT INTO password_reset (id, caisse, person_id, token_hash, created_at, expires_at, disavowed_from)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        """,
        reset_id,
        tx.the_caisse,
        person_id,
        token_hash,
        now,
        expires_at,
        disavowed_from,
    )


async def find_reset(tx: Tx, token_hash: bytes, *, now: datetime) -> Reset | None:
    """A live link. Reading changes nothing."""
    row = await tx.fetchrow(
        """
        SELECT person_id, disavowed_from FROM password_reset
         WHERE token_hash = $1 AND ended_at IS NULL AND expires_at > $2
        """,
        token_hash,
        now,
    )
    return Reset(*row) if row else None


async def claim_reset(tx: Tx, token_hash: bytes, *, now: datetime) -> bool:
    """Spend a link. False when it is unknown, spent or expired: two uses at once find one winner."""
    claimed = await tx.execute(
        "UPDATE password_reset SET ended_at = $2 WHERE token_hash = $1 AND ended_at IS NULL AND expires_at > $2",
        token_hash,
        now,
    )
    return claimed == 1


async def forget_old_resets(tx: Tx, now: datetime) -> int:
    return await tx.execute(
        "DELETE FROM password_reset WHERE id IN (SELECT id FROM password_reset WHERE expires_at < $1 LIMIT $2)",
        now,
        BATCH,
    )

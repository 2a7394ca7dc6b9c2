"""The receipts of administration commands, in SQL."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from libs.common.database.transaction import Tx


class StoredReceipt(NamedTuple):
    """What was asked under a key, and the sealed answer."""

    request_hash: bytes
    answer_encrypted: bytes | None


async def forget(tx: Tx, created_before: datetime) -> int:
    return await tx.execute("DELETE FROM admin_receipt WHERE created_at < $1", created_before)


async def claim(tx: Tx, client_id: str, request_key: str, request_hash: bytes, now: datetime) -> bool:
    """Take a key; a twin in flight waits here for the first to commit. False when it is taken."""
    return (
        await tx.execute(
            """
        INSERT INTO admin_receipt (caisse, client_id, request_key, request_hash, created_at)
        VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT DO NOTHING
        """,
            tx.the_caisse,
            client_id,
            request_key,
            request_hash,
            now,
        )
        == 1
    )


async def keep_answer(tx: Tx, client_id: str, request_key: str, answer_encrypted: bytes) -> None:
    await tx.execute(
        "UPDATE admin_receipt SET answer_encrypted = $3 WHERE client_id = $1 AND request_key = $2",
        client_id,
        request_key,
        answer_encrypted,
    )


async def find(tx: Tx, client_id: str, request_key: str) -> StoredReceipt | None:
    row = await tx.fetchrow(
        "SELECT request_hash, answer_encrypted FROM admin_receipt WHERE client_id = $1 AND request_key = $2",
        client_id,
        request_key,
    )
    return StoredReceipt(*row) if row else None


async def has_an_account(tx: Tx, person_id: UUID) -> bool:
    """Whether this caisse knows the person at all, whatever became of the account."""
    return await tx.fetchval("SELECT EXISTS (SELECT FROM account WHERE person_id = $1)", person_id)

"""Rows of second factors: the authenticator application and its recovery codes."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from libs.common.database.transaction import Tx


class Totp(NamedTuple):
    """An authenticator application; `secret_encrypted` opens under the key-encryption key."""

    person_id: UUID
    secret_encrypted: bytes
    last_step: int
    confirmed_at: datetime | None


async def find_totp(tx: Tx, person_id: UUID) -> Totp | None:
    row = await tx.fetchrow(
        "SELECT person_id, secret_encrypted, last_step, confirmed_at FROM totp_factor WHERE person_id = $1",
        person_id,
    )
    return Totp(*row) if row else None


async def propose_totp(tx: Tx, person_id: UUID, secret_encrypted: bytes, *, now: datetime) -> None:
    """Keep a secret being enrolled. A factor already confirmed is left alone."""
    await tx.execute(
        """
        INSERT INTO totp_factor (person_id, secret_encrypted, created_at) VALUES ($1, $2, $3)
        ON CONFLICT (person_id) DO UPDATE
           SET secret_encrypted = excluded.secret_encrypted, created_at = excluded.created_at, last_step = 0
         WHERE totp_factor.confirmed_at IS NULL
        """,
        person_id,
        secret_encrypted,
        now,
    )


async def spend_totp_step(tx: Tx, person_id: UUID, step: int) -> bool:
    """Whether this 30-second value was still unused: two uses at once find one winner."""
    spent = await tx.execute(
        "UPDATE totp_factor SET last_step = $2 WHERE person_id = $1 AND last_step < $2", person_id, step
    )
    return spent == 1


async def confirm_totp(tx: Tx, person_id: UUID, *, now: datetime) -> bool:
    done = await tx.execute(
        "UPDATE totp_factor SET confirmed_at = $2 WHERE person_id = $1 AND confirmed_at IS NULL",
        person_id,
        now,
    )
    return done == 1


async def remove_totp(tx: Tx, person_id: UUID) -> bool:
    return await tx.execute("DELETE FROM totp_factor WHERE person_id = $1", person_id) == 1


async def replace_recovery_codes(tx: Tx, person_id: UUID, hashes: list[bytes], *, now: datetime) -> None:
    """The former set dies with the arrival of the new one."""
    await tx.execute(
        """
        WITH gone AS (DELETE FROM recovery_code WHERE person_id = $1)
        INSERT INTO recovery_code (person_id, code_hash, created_at)
        SELECT $1, code_hash, $3 FROM unnest($2::bytea[]) AS drawn (code_hash)
        """,
        person_id,
        hashes,
        now,
    )


async def spend_recovery_code(tx: Tx, person_id: UUID, code_hash: bytes, *, now: datetime) -> bool:
    spent = await tx.execute(
        "UPDATE recovery_code SET used_at = $3 WHERE person_id = $1 AND code_hash = $2 AND used_at IS NULL",
        person_id,
        code_hash,
        now,
    )
    return spent == 1


async def forget_recovery_codes(tx: Tx, person_id: UUID) -> None:
    await tx.execute("DELETE FROM recovery_code WHERE person_id = $1", person_id)

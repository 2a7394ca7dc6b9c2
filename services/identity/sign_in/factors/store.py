"""Rows of second factors: the authenticator application and its recovery codes."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from libs.common.database.transaction import Tx


class Totp(NamedTuple):
    """An authenticator application that counts; `secret_encrypted` opens under the key-encryption key."""

    person_id: UUID
    secret_encrypted: bytes
    confirmed_at: datetime
    mailbox_proven_at: datetime | None
    """Empty for one enrolled with a password alone, before that was refused."""


async def find_totp(tx: Tx, person_id: UUID) -> Totp | None:
    row = await tx.fetchrow(
        """
        SELECT person_id, secret_encrypted, confirmed_at, mailbox_proven_at FROM totp_factor
         WHERE person_id = $1 AND confirmed_at IS NOT NULL
        """,
        person_id,
    )
    return Totp(*row) if row else None


async def propose_totp(
    tx: Tx, shown_to: UUID, person_id: UUID, drawn: bytes, *, now: datetime, expires_at: datetime
) -> bytes:
    """Keep the secret just drawn for this sign-in or session, unless a live one is shown to it; the one that is."""
    return await tx.fetchval(
        """
        INSERT INTO totp_proposal AS shown (shown_to, person_id, secret_encrypted, expires_at)
        VALUES ($1, $2, $3, $5)
        ON CONFLICT (shown_to) DO UPDATE
           SET secret_encrypted = CASE WHEN shown.expires_at > $4 THEN shown.secret_encrypted ELSE $3 END,
               expires_at = CASE WHEN shown.expires_at > $4 THEN shown.expires_at ELSE $5 END
        RETURNING secret_encrypted
        """,
        shown_to,
        person_id,
        drawn,
        now,
        expires_at,
    )


async def find_proposal(tx: Tx, shown_to: UUID, person_id: UUID, *, now: datetime) -> bytes | None:
    """The secret shown to this sign-in or session, and to no other."""
    return await tx.fetchval(
        "SELECT secret_encrypted FROM totp_proposal WHERE shown_to = $1 AND person_id = $2 AND expires_at > $3",
        shown_to,
        person_id,
        now,
    )


async def confirm_totp(tx: Tx, shown_to: UUID, person_id: UUID, *, step: int, now: datetime) -> bool:
    """The secret shown becomes the factor, `step` spent; all that was shown elsewhere goes. One winner."""
    done = await tx.execute(
        """
        WITH shown AS (DELETE FROM totp_proposal WHERE person_id = $2
                       RETURNING shown_to, secret_encrypted, expires_at)
        INSERT INTO totp_factor (person_id, secret_encrypted, last_step, created_at, confirmed_at, mailbox_proven_at)
        SELECT $2, shown.secret_encrypted, $3, $4, $4, $4 FROM shown
         WHERE shown.shown_to = $1 AND shown.expires_at > $4
        ON CONFLICT (person_id) DO UPDATE
           SET secret_encrypted = excluded.secret_encrypted, last_step = excluded.last_step,
               created_at = $4, confirmed_at = $4, mailbox_proven_at = $4
         WHERE totp_factor.confirmed_at IS NULL
        """,
        shown_to,
        person_id,
        step,
        now,
    )
    return done == 1


async def vouch_for_totp(tx: Tx, person_id: UUID, *, now: datetime) -> None:
    """Whoever holds the application read the mailbox too, in one sign-in."""
    await tx.execute(
        """
        UPDATE totp_factor SET mailbox_proven_at = $2
         WHERE person_id = $1 AND confirmed_at IS NOT NULL AND mailbox_proven_at IS NULL
        """,
        person_id,
        now,
    )


async def spend_totp_step(tx: Tx, person_id: UUID, step: int) -> bool:
    """Whether this 30-second value was still unused: two uses at once find one winner."""
    spent = await tx.execute(
        "UPDATE totp_factor SET last_step = $2 WHERE person_id = $1 AND last_step < $2", person_id, step
    )
    return spent == 1


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

"""Rows of the portal's sessions. Secrets arrive sealed; what finds a row is a hash."""

from datetime import datetime
from typing import Final
from uuid import UUID

from msgspec import Struct

from libs.common.database.transaction import Tx


class PendingRow(Struct, frozen=True):
    """A sign-in that one browser began."""

    sealed: bytes
    return_to: str


class SessionRow(Struct, frozen=True):
    """Who is signed in."""

    id: UUID
    sid: str
    subject: str
    full_name: str
    adherent: str | None
    sealed: bytes


async def open_pending(
    tx: Tx, state_hash: bytes, browser_hash: bytes, sealed: bytes, return_to: str, expires_at: datetime
) -> None:
    await tx.execute(
        """
        INSERT INTO pending_sign_in (caisse, state_hash, browser_hash, sealed, return_to, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6)
        """,
        tx.caisse, state_hash, browser_hash, sealed, return_to, expires_at,
    )  # fmt: skip


async def claim_pending(tx: Tx, state_hash: bytes, browser_hash: bytes, now: datetime) -> PendingRow | None:
    """Spend a pending sign-in. `None` when unknown, spent, expired, or begun in another browser."""
    row = await tx.fetchrow(
        """
        DELETE FROM pending_sign_in
         WHERE state_hash = $1
           AND browser_hash = $2
           AND expires_at > $3
        RETURNING sealed, return_to
        """,
        state_hash, browser_hash, now,
    )  # fmt: skip
    return PendingRow(*row) if row else None


IN_PASSING: Final = 100
"""Expired rows of each kind that a sign-in removes, which adds one: no flood outgrows that, and nobody waits for it."""


async def forget_expired(tx: Tx, now: datetime) -> None:
    """Drop a few expired rows in passing: the portal has no sweeper of its own."""
    await tx.execute(
        """
        WITH pending AS (
            DELETE FROM pending_sign_in WHERE (caisse, state_hash) IN (
                SELECT caisse, state_hash FROM pending_sign_in
                 WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)
        ), heard AS (
            DELETE FROM heard_logout WHERE (caisse, jti) IN (
                SELECT caisse, jti FROM heard_logout
                 WHERE expires_at <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED)
        )
        DELETE FROM session WHERE (caisse, id) IN (
            SELECT caisse, id FROM session
             WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)
        """,
        now, IN_PASSING,
    )  # fmt: skip


async def one_at_a_time(tx: Tx, name: str) -> None:
    """Hold, until this transaction ends, whoever else opens or ends the sessions of `name` (a `sid`, a subject).

    Else a logout and the session it ends might each be written without seeing the other.
    """
    await tx.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended('portal.session ' || $1 || ' ' || $2, 0))",
        tx.the_caisse, name,
    )  # fmt: skip


async def insert_session(
    tx: Tx,
    row: SessionRow,
    token_hash: bytes,
    created_at: datetime,
    expires_at: datetime,
    *,
    proven_at: datetime,
) -> bool:
    """False when identity has said meanwhile that it is over: by its `sid`, or of every session of its subject
    that was `proven_at` (the ID token's `iat`) that instant or before.
    """
    inserted = await tx.execute(
        """
        INSERT INTO session
            (caisse, id, token_hash, sid, subject, full_name, adherent, sealed, created_at, expires_at)
        SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10
         WHERE NOT EXISTS (SELECT FROM heard_logout WHERE sid = $4)
           AND NOT EXISTS (SELECT FROM heard_logout
                            WHERE sid IS NULL AND subject = $5 AND issued_at >= $11)
        """,
        tx.caisse, row.id, token_hash, row.sid, row.subject, row.full_name, row.adherent, row.sealed,
        created_at, expires_at, proven_at,
    )  # fmt: skip
    return inserted == 1


async def delete_by_cookie(tx: Tx, token_hash: bytes) -> None:
    await tx.execute("DELETE FROM session WHERE token_hash = $1", token_hash)


async def find_session(tx: Tx, token_hash: bytes, now: datetime) -> SessionRow | None:
    row = await tx.fetchrow(
        """
        SELECT id, sid, subject, full_name, adherent, sealed
          FROM session
         WHERE token_hash = $1
           AND expires_at > $2
        """,
        token_hash, now,
    )  # fmt: skip
    return SessionRow(*row) if row else None


async def delete_session(tx: Tx, session_id: UUID) -> None:
    await tx.execute("DELETE FROM session WHERE id = $1", session_id)


async def delete_named_by_logout(tx: Tx, sid: str | None, subject: str | None) -> int:
    """End the session `sid`, or without it every session of `subject`; how many there were."""
    deleted = await tx.fetch(
        """
        DELETE FROM session
         WHERE ($1::text IS NOT NULL AND sid = $1)
            OR ($1::text IS NULL AND subject = $2)
        RETURNING id
        """,
        sid, subject,
    )  # fmt: skip
    return len(deleted)


async def hear_logout(
    tx: Tx, jti: str, *, sid: str | None, subject: str | None, issued_at: datetime, expires_at: datetime
) -> bool:
    """False when this logout token was heard before. What it ended is remembered until `expires_at`."""
    heard = await tx.execute(
        """
        INSERT INTO heard_logout (caisse, jti, sid, subject, issued_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT DO NOTHING
        """,
        tx.caisse, jti, sid, subject, issued_at, expires_at,
    )  # fmt: skip
    return heard == 1


async def find_token(tx: Tx, session_id: UUID, audience: str, mandate: str, now: datetime) -> bytes | None:
    """The sealed access token for this audience and mandate, if it still lives."""
    sealed: bytes | None = await tx.fetchval(
        """
        SELECT sealed
          FROM session_token
         WHERE session_id = $1
           AND audience = $2
           AND mandate = $3
           AND expires_at > $4
        """,
        session_id, audience, mandate, now,
    )  # fmt: skip
    return sealed


async def keep_token(
    tx: Tx, session_id: UUID, audience: str, mandate: str, sealed: bytes, expires_at: datetime
) -> None:
    """Keep an access token; nothing when the session has just ended."""
    await tx.execute(
        """
        INSERT INTO session_token (caisse, session_id, audience, mandate, sealed, expires_at)
        SELECT $1, session.id, $3, $4, $5, $6
          FROM session
         WHERE session.id = $2
        ON CONFLICT (caisse, session_id, audience, mandate)
        DO UPDATE SET sealed = excluded.sealed, expires_at = excluded.expires_at
        """,
        tx.caisse, session_id, audience, mandate, sealed, expires_at,
    )  # fmt: skip


async def drop_token(tx: Tx, session_id: UUID, audience: str, mandate: str) -> None:
    await tx.execute(
        "DELETE FROM session_token WHERE session_id = $1 AND audience = $2 AND mandate = $3",
        session_id, audience, mandate,
    )  # fmt: skip

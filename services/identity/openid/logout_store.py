"""Who must hear that a session is over, and the leased queue that tells them, in SQL."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from libs.common.database.transaction import Tx
from services.identity.openid.clients import Client
from services.identity.openid.store import CLIENT, client_of


class Delivery(NamedTuple):
    """A logout token to send; leased to this worker until the lease ends."""

    caisse: str
    id: UUID
    client_id: str
    session_id: UUID
    subject: str
    attempts: int


async def listeners(tx: Tx, session_id: UUID) -> list[Client]:
    """The clients that were given tokens in this session and registered a back-channel address."""
    rows = await tx.fetch(
        f"""
        SELECT {CLIENT} FROM client
         WHERE client.metadata ? 'backchannel_logout_uri'
           AND client.client_id IN (SELECT g.client_id FROM authorization_grant AS g WHERE g.session_id = $1)
        """,
        session_id,
    )
    return [client for client in map(client_of, rows) if client is not None]


async def enqueue(
    tx: Tx, delivery_id: UUID, client_id: str, session_id: UUID, subject: str, now: datetime
) -> None:
    await tx.execute(
        """
        INSERT INTO logout_delivery (caisse, id, client_id, session_id, subject, next_attempt_at, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $6)
        """,
        tx.the_caisse, delivery_id, client_id, session_id, subject, now,
    )  # fmt: skip


async def revoke_session_grants(tx: Tx, session_id: UUID, now: datetime) -> int:
    """Grants that were to live with the session die with it; offline ones go on (OpenID Connect Core §11)."""
    return await tx.execute(
        """
        UPDATE authorization_grant SET revoked_at = $2, revoked_why = 'session_over'
         WHERE session_id = $1 AND revoked_at IS NULL AND coalesce((granted->>'offline')::boolean, false) = false
        """,
        session_id, now,
    )  # fmt: skip


async def lease(tx: Tx, *, now: datetime, until: datetime, most: int) -> list[Delivery]:
    """Take what is due, of any caisse; another worker takes other rows. At least once: a lease lost is retaken."""
    rows = await tx.fetch(
        """
        UPDATE logout_delivery AS delivery
           SET leased_until = $2, attempts = attempts + 1
          FROM (SELECT caisse, id FROM logout_delivery
                 WHERE delivered_at IS NULL AND abandoned_at IS NULL AND next_attempt_at <= $1
                   AND (leased_until IS NULL OR leased_until <= $1)
                 ORDER BY next_attempt_at
                 LIMIT $3
                   FOR UPDATE SKIP LOCKED) AS due
         WHERE delivery.caisse = due.caisse AND delivery.id = due.id
        RETURNING delivery.caisse, delivery.id, delivery.client_id, delivery.session_id, delivery.subject,
                  delivery.attempts
        """,
        now, until, most,
    )  # fmt: skip
    return [Delivery(*row) for row in rows]


async def delivered(tx: Tx, delivery: Delivery, now: datetime) -> None:
    await tx.execute(
        "UPDATE logout_delivery SET delivered_at = $3, leased_until = NULL WHERE caisse = $1 AND id = $2",
        delivery.caisse, delivery.id, now,
    )  # fmt: skip


async def postpone(tx: Tx, delivery: Delivery, *, answer: str, again_at: datetime) -> None:
    await tx.execute(
        """
        UPDATE logout_delivery SET next_attempt_at = $3, leased_until = NULL, last_answer = $4
         WHERE caisse = $1 AND id = $2
        """,
        delivery.caisse, delivery.id, again_at, answer,
    )  # fmt: skip


async def abandon(tx: Tx, delivery: Delivery, *, answer: str, now: datetime) -> None:
    await tx.execute(
        """
        UPDATE logout_delivery SET abandoned_at = $3, leased_until = NULL, last_answer = $4
         WHERE caisse = $1 AND id = $2
        """,
        delivery.caisse, delivery.id, now, answer,
    )  # fmt: skip

"""The mail queue's rows."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from libs.common.database.forgetting import BATCH
from libs.common.database.transaction import Tx
from services.identity.mail.messages import Sender


class QueuedMail(NamedTuple):
    id: UUID
    template: str
    locale: str
    message_id: str
    address_key: bytes
    target_key: bytes | None
    is_limited: bool
    parameters: bytes
    created_at: datetime


class LeasedMail(NamedTuple):
    """A mail this courier alone may send until its lease ends."""

    id: UUID
    caisse: str
    template: str
    locale: str
    message_id: str
    parameters: bytes
    created_at: datetime
    tries: int
    address_key: bytes


async def add(tx: Tx, mail: QueuedMail) -> None:
    await tx.execute(
        """
        INSERT INTO mail_queue (id, caisse, template, locale, message_id, address_key, target_key,
                                is_limited, parameters, created_at, next_try_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10)
        """,
        mail.id,
        tx.the_caisse,
        mail.template,
        mail.locale,
        mail.message_id,
        mail.address_key,
        mail.target_key,
        mail.is_limited,
        mail.parameters,
        mail.created_at,
    )


async def take_turn(tx: Tx, key: bytes) -> None:
    """Wait for whoever is writing to the same address or about the same firm; held to the commit."""
    await tx.execute(
        "SELECT pg_advisory_xact_lock(hashtext('mail_queue'), hashtext(encode($1::bytea, 'hex')))", key
    )


async def most_asked_since(
    tx: Tx, kind: list[str], address_key: bytes, target_key: bytes | None, since: datetime
) -> int:
    """Asked-for mails of these templates since then: the larger of those to this address and those about this firm."""
    return await tx.fetchval(
        """
        SELECT greatest(
                   (SELECT count(*) FROM mail_queue
                     WHERE is_limited AND address_key = $1 AND created_at > $3 AND template = ANY($4)),
                   (SELECT count(*) FROM mail_queue
                     WHERE is_limited AND target_key = $2 AND created_at > $3 AND template = ANY($4)))
        """,
        address_key,
        target_key,
        since,
        kind,
    )


async def lease(tx: Tx, *, now: datetime, until: datetime, most: int) -> list[LeasedMail]:
    """Take up to `most` due mails, oldest due first; a courier that died frees its own at `leased_until`."""
    rows = await tx.fetch(
        """
        WITH due AS (
            SELECT id AS due_id FROM mail_queue
             WHERE sent_at IS NULL AND failed_at IS NULL
               AND next_try_at <= $1
               AND (leased_until IS NULL OR leased_until <= $1)
             ORDER BY next_try_at
             LIMIT $3
               FOR UPDATE SKIP LOCKED)
        UPDATE mail_queue SET leased_until = $2, tries = tries + 1
          FROM due
         WHERE id = due.due_id
        RETURNING id, caisse, template, locale, message_id, parameters, created_at, tries, address_key
        """,
        now,
        until,
        most,
    )
    return [LeasedMail(*row) for row in rows]


async def mark_sent(tx: Tx, mail_id: UUID, *, now: datetime) -> None:
    """Sent: what it said is erased with the same statement."""
    await tx.execute(
        "UPDATE mail_queue SET sent_at = $2, parameters = NULL, leased_until = NULL WHERE id = $1",
        mail_id,
        now,
    )


async def try_again(tx: Tx, mail_id: UUID, *, at: datetime, error: str) -> None:
    await tx.execute(
        "UPDATE mail_queue SET next_try_at = $2, last_error = $3, leased_until = NULL WHERE id = $1",
        mail_id,
        at,
        error,
    )


async def give_up(tx: Tx, mail_id: UUID, *, now: datetime, error: str) -> None:
    """Refused for good, or tried for days: shown at the desk, its words erased."""
    await tx.execute(
        """
        UPDATE mail_queue SET failed_at = $2, last_error = $3, parameters = NULL, leased_until = NULL
         WHERE id = $1
        """,
        mail_id,
        now,
        error,
    )


async def forget_before(tx: Tx, before: datetime) -> int:
    """Delete what was sent, or given up, before then."""
    return await tx.execute(
        """
        DELETE FROM mail_queue WHERE id IN (
            SELECT id FROM mail_queue
             WHERE created_at < $1 AND (sent_at IS NOT NULL OR failed_at IS NOT NULL) LIMIT $2)
        """,
        before,
        BATCH,
    )


async def waiting_count(tx: Tx) -> int:
    return await tx.fetchval("SELECT count(*) FROM mail_queue WHERE sent_at IS NULL AND failed_at IS NULL")


async def sender_of(tx: Tx, caisse: str) -> Sender:
    """The caisse as its mails show it."""
    row = await tx.fetchrow("SELECT name, mail_from, phone, email FROM caisse WHERE slug = $1", caisse)
    if row is None:
        raise LookupError(f"no caisse {caisse}")
    return Sender(*row)

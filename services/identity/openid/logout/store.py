"""Signing out, in SQL: what was posted for it, and the leased queue that tells clients that a session is over.

The queue is the relay role's, across caisses.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from libs.common.database.forgetting import BATCH
from libs.common.database.transaction import Tx
from services.identity.openid.bucket_names import Place


class Delivery(NamedTuple):
    """A logout token to send; leased to this worker until the lease ends.

    One that `is_left` was taken by somebody who never said what came of it: that attempt, already counted in
    `attempts`, is to be noted first, and nothing sent.
    """

    caisse: str
    id: UUID
    client_id: str
    session_id: UUID
    person_id: UUID
    attempts: int
    is_left: bool


async def kept(tx: Tx, place: Place, client_id: str, now: datetime) -> str | None:
    """What a sign-out asked, as it was posted."""
    return await tx.fetchval(
        """
        SELECT request::text FROM pushed_request
         WHERE handle_hash = $1 AND bucket BETWEEN $2 AND $3 AND client_id = $4 AND expires_at > $5
        """,
        place.digest, *place.rows, client_id, now,
    )  # fmt: skip


async def enqueue_late(tx: Tx, *, ended_after: datetime, now: datetime) -> int:
    """Deliveries for the clients that the end of a session did not find; each pair once, for ever.

    The end itself queues them (`clients_hear_of_the_end`), but for a grant whose transaction was not over then.
    The row's id is drawn here for thousands at once; it names nothing outside this table.
    """
    return await tx.execute(
        """
        INSERT INTO logout_delivery (caisse, id, client_id, session_id, person_id, next_attempt_at, created_at)
        SELECT DISTINCT ON (session.id, g.client_id)
               session.caisse, gen_random_uuid(), g.client_id, session.id, session.person_id, $2, $2
          FROM session
          JOIN authorization_grant AS g ON g.caisse = session.caisse AND g.session_id = session.id
          JOIN client ON client.caisse = g.caisse AND client.client_id = g.client_id
         WHERE session.revoked_at > $1
           AND client.metadata ? 'backchannel_logout_uri'
        ON CONFLICT (caisse, session_id, client_id) DO NOTHING
        """,
        ended_after, now,
    )  # fmt: skip


async def lease(
    tx: Tx, *, now: datetime, until: datetime, most: int, of_one_host: int, but: Sequence[UUID] = ()
) -> list[Delivery]:
    """Take what is due, of any caisse; another worker takes other rows. At least once: a lease lost is retaken.

    An attempt counts from here, so that one whose worker dies counts too.
    At most `of_one_host` deliveries are under way to one host (the address of the client, port included), and
    each host's first comes before any host's second: a client's crowd stands before nobody. The clients that wait
    are found one by one in their index, so the length of no queue counts. `but` is what the caller still has in
    hand: a lease that its own delivery outlived is not taken twice at once.
    """
    rows = await tx.fetch(
        """
        WITH RECURSIVE waiting AS (
            (SELECT caisse, client_id FROM logout_delivery
              WHERE delivered_at IS NULL AND abandoned_at IS NULL
              ORDER BY caisse, client_id LIMIT 1)
            UNION ALL
            SELECT following.caisse, following.client_id
              FROM waiting, LATERAL (
                   SELECT caisse, client_id FROM logout_delivery
                    WHERE delivered_at IS NULL AND abandoned_at IS NULL
                      AND (caisse, client_id) > (waiting.caisse, waiting.client_id)
                    ORDER BY caisse, client_id LIMIT 1) AS following
        ), first AS (
            SELECT of_client.caisse, of_client.id, of_client.next_attempt_at, of_client.is_held,
                   row_number() OVER (
                       PARTITION BY coalesce(
                           lower(substring(client.metadata ->> 'backchannel_logout_uri' FROM '^[^:]*://([^/?#]*)')),
                           waiting.client_id)
                       ORDER BY of_client.is_held DESC, of_client.next_attempt_at) AS turn
              FROM waiting
              LEFT JOIN client ON client.caisse = waiting.caisse AND client.client_id = waiting.client_id
             CROSS JOIN LATERAL (
                   SELECT caisse, id, next_attempt_at, coalesce(leased_until > $1, false) AS is_held
                     FROM logout_delivery
                    WHERE caisse = waiting.caisse AND client_id = waiting.client_id
                      AND delivered_at IS NULL AND abandoned_at IS NULL AND next_attempt_at <= $1
                    ORDER BY next_attempt_at
                    LIMIT 2 * $4) AS of_client
        ), chosen AS (
            SELECT caisse, id FROM first
             WHERE NOT is_held AND turn <= $4 AND id <> ALL ($5)
             ORDER BY turn, next_attempt_at
             LIMIT $3
        )
        UPDATE logout_delivery AS delivery
           SET leased_until = $2, attempts = attempts + CASE WHEN due.is_left THEN 0 ELSE 1 END
          FROM (SELECT caisse, id, leased_until IS NOT NULL AS is_left FROM logout_delivery
                 WHERE (caisse, id) IN (SELECT caisse, id FROM chosen)
                   AND delivered_at IS NULL AND abandoned_at IS NULL AND next_attempt_at <= $1
                   AND (leased_until IS NULL OR leased_until <= $1)
                   FOR UPDATE SKIP LOCKED) AS due
         WHERE delivery.caisse = due.caisse AND delivery.id = due.id
        RETURNING delivery.caisse, delivery.id, delivery.client_id, delivery.session_id, delivery.person_id,
                  delivery.attempts, due.is_left
        """,
        now, until, most, of_one_host, list(but),
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


async def forget_before(tx: Tx, moment: datetime) -> int:
    """Those delivered or given up, a bounded batch: what still waits, however old, was never tried enough."""
    return await tx.execute(
        """
        DELETE FROM logout_delivery WHERE (caisse, id) IN (
            SELECT caisse, id FROM logout_delivery
             WHERE created_at < $1 AND coalesce(delivered_at, abandoned_at) IS NOT NULL
             LIMIT $2)
        """,
        moment, BATCH,
    )  # fmt: skip

"""Facts leave with the state they tell: same transaction, same fate."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from libs.common.database.forgetting import BATCH
from libs.common.database.transaction import Tx
from libs.common.events.envelope import Event, encode, subject_of

KEPT: Final = timedelta(days=30)
"""How long a fact stays in the outbox once sent, so that a wiped stream is refilled."""


class UnsentFact(NamedTuple):
    """A committed fact that the broker has not acknowledged."""

    event_id: UUID
    subject: str
    body: bytes


class Epoch(NamedTuple):
    """When the relay first saw the present incarnation of a stream, and whether it has refilled it."""

    at: datetime
    is_refilled: bool


class Depth(NamedTuple):
    """How much is waiting, and for how long."""

    unsent: int
    oldest: timedelta


async def record(tx: Tx, event: Event) -> None:
    """Put `event` in the outbox of the transaction's caisse; the relay publishes it after the commit.

    Recording the same `event_id` twice is an error of ours and fails on the primary key.
    """
    await tx.execute(
        "INSERT INTO outbox (event_id, caisse, subject, body) VALUES ($1, $2, $3, $4)",
        event.event_id,
        tx.the_caisse,
        subject_of(event, tx.the_caisse),
        encode(event),
    )
    if event.urgent:
        # NOTIFY serialises commits, so only the facts that must act at once ring the relay's bell.
        await tx.execute("SELECT pg_notify('outbox', current_schema())")


async def record_all(tx: Tx, events: Iterable[Event]) -> None:
    """Record many ordinary facts in one statement, in their order."""
    batch = list(events)
    await tx.execute(
        """
        INSERT INTO outbox (event_id, caisse, subject, body)
        SELECT event_id, $2, subject, body
          FROM unnest($1::uuid[], $3::text[], $4::bytea[]) WITH ORDINALITY AS fact (event_id, subject, body, rank)
         ORDER BY rank
        """,
        [event.event_id for event in batch],
        tx.the_caisse,
        [subject_of(event, tx.the_caisse) for event in batch],
        [encode(event) for event in batch],
    )


# The relay's half. It runs as the relay role, across caisses. Urgent facts (the
# floors that revoke) have a lane and an index of their own: an import of 250,000
# rows must not delay one of them.


async def claim_unsent(tx: Tx, *, urgent: bool, resting: Sequence[UUID], limit: int) -> list[UnsentFact]:
    """Take unsent facts, oldest first, that no other relay holds; those in `resting` are left alone.

    Never above a last position: positions commit out of order, and such a cursor loses facts.
    """
    if urgent:
        return await _claim_urgent(tx, resting, limit)
    rows = await tx.fetch(
        """
        SELECT event_id, subject, body
          FROM outbox
         WHERE sent_at IS NULL AND subject NOT LIKE '%.authz.%' AND event_id <> ALL ($1::uuid[])
         ORDER BY position
         LIMIT $2
           FOR UPDATE SKIP LOCKED
        """,
        list(resting),
        limit,
    )
    return [UnsentFact(*row) for row in rows]


async def _claim_urgent(tx: Tx, resting: Sequence[UUID], limit: int) -> list[UnsentFact]:
    rows = await tx.fetch(
        """
        SELECT event_id, subject, body
          FROM outbox
         WHERE sent_at IS NULL AND subject LIKE '%.authz.%' AND event_id <> ALL ($1::uuid[])
         ORDER BY position
         LIMIT $2
           FOR UPDATE SKIP LOCKED
        """,
        list(resting),
        limit,
    )
    return [UnsentFact(*row) for row in rows]


async def mark_sent(tx: Tx, event_ids: Iterable[UUID]) -> None:
    """The broker acknowledged these. Killed before this line, they are sent again and recognised."""
    await tx.execute(
        "UPDATE outbox SET sent_at = clock_timestamp() WHERE event_id = ANY ($1::uuid[])", list(event_ids)
    )


async def clock(tx: Tx) -> datetime:
    """The database's own clock, which also stamps `recorded_at`."""
    now: datetime = await tx.fetchval("SELECT clock_timestamp()")
    return now


async def urgent_unsent_before(tx: Tx, instant: datetime) -> bool:
    """Whether an urgent fact recorded before `instant` is still unsent, be it in another relay's hands."""
    left: bool = await tx.fetchval(
        """
        SELECT EXISTS (
            SELECT FROM outbox WHERE sent_at IS NULL AND subject LIKE '%.authz.%' AND recorded_at < $1)
        """,
        instant,
    )
    return left


async def depth(tx: Tx) -> Depth:
    """What waits to be sent, both lanes together."""
    row = await tx.fetchrow(
        """
        SELECT count(*) AS unsent, coalesce(clock_timestamp() - min(recorded_at), interval '0') AS oldest
          FROM outbox
         WHERE sent_at IS NULL
        """
    )
    assert row is not None
    return Depth(*row)


async def forget_sent(tx: Tx) -> int:
    """Drop facts sent and older than `KEPT`, one bounded batch; how many went."""
    return await tx.execute(
        """
        DELETE FROM outbox
         WHERE event_id IN (
            SELECT event_id FROM outbox
             WHERE recorded_at < now() - $1::interval AND sent_at IS NOT NULL
             ORDER BY recorded_at
             LIMIT $2)
        """,
        KEPT,
        BATCH,
    )


async def refilled_epoch(tx: Tx, stream: str) -> str | None:
    """When the stream was created that holds every fact marked as sent; `None` while there is no such stream."""
    return await tx.fetchval(
        "SELECT created FROM stream_epoch WHERE stream = $1 AND refilled_at IS NOT NULL", stream
    )


async def hold_epoch(tx: Tx, stream: str) -> bool:
    """Keep the epoch of `stream` as it is until this transaction ends; False when none is known yet.

    Whoever sends holds it: a stream that was lost meanwhile is noticed after what was sent into it is marked so,
    and then sends that again too. A lock of the row would let one sender after another pass before whoever notices;
    an advisory one is given in the order of asking.
    """
    held = await tx.fetchval(
        """
        SELECT EXISTS (SELECT FROM stream_epoch WHERE stream = $1)
          FROM pg_advisory_xact_lock_shared(hashtextextended(current_schema() || '/' || $1, 0))
        """,
        stream,
    )
    return bool(held)


async def notice_epoch(tx: Tx, stream: str, created: str) -> Epoch:
    """Note that `stream` was created at `created`; another date than the one known opens a new epoch.

    That waits for whoever holds the former one.
    """
    known = await tx.fetchrow(
        "SELECT noticed_at, refilled_at IS NOT NULL FROM stream_epoch WHERE stream = $1 AND created = $2",
        stream,
        created,
    )
    if known is not None:
        return Epoch(*known)
    # The clock is read once nobody sends (`hold_epoch`): later than all that was marked sent before.
    await tx.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || '/' || $1, 0))", stream
    )
    row = await tx.fetchrow(
        """
        INSERT INTO stream_epoch AS known (stream, created) VALUES ($1, $2)
        ON CONFLICT (stream) DO UPDATE
           SET created = excluded.created,
               noticed_at = CASE WHEN known.created = excluded.created THEN known.noticed_at ELSE clock_timestamp() END,
               refilled_at = CASE WHEN known.created = excluded.created THEN known.refilled_at END
        RETURNING noticed_at, refilled_at IS NOT NULL
        """,
        stream,
        created,
    )
    assert row is not None
    return Epoch(*row)


async def mark_refilled(tx: Tx, stream: str, created: str) -> None:
    await tx.execute(
        "UPDATE stream_epoch SET refilled_at = clock_timestamp() WHERE stream = $1 AND created = $2",
        stream,
        created,
    )


async def send_again(
    tx: Tx, *, urgent: bool, sent_before: datetime, newer_than: timedelta, limit: int
) -> int:
    """Put facts of one lane back among the unsent, at most `limit`; how many there were.

    Only those sent before the new epoch was noticed: run again after a crash, it goes on where it stopped.
    """
    return await tx.execute(
        """
        UPDATE outbox SET sent_at = NULL
         WHERE event_id IN (
            SELECT event_id FROM outbox
             WHERE sent_at <= $1 AND recorded_at > now() - $2::interval
               AND (subject LIKE '%.authz.%') = $3
             LIMIT $4)
        """,
        sent_before,
        newer_than,
        urgent,
        limit,
    )

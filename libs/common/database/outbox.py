"""Facts leave with the state they tell: same transaction, same fate."""

from collections.abc import Iterable

from libs.common.database.transaction import Tx
from libs.common.events.envelope import Event, encode, subject_of


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

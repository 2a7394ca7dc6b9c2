"""The relay: in order, once marked, never lost, and never held up by one bad fact."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import pytest

from libs.common.bus.connection import Bus, BusUnavailable
from libs.common.bus.relay import Heartbeat, Lane
from libs.common.bus.streams import AUTHZ, HEARTBEAT_SUBJECT, streams_of
from libs.common.database import outbox
from libs.common.database.pool import Database
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.identifiers import new_id
from tests.bus.conftest import CAISSE, a_floor, an_account, record, relaying, unsent, until
from tests.relays import identity_relays, keep_streams


class Killed(Exception):
    """The process dies here: its transaction is rolled back by the server."""


async def stored(bus: Bus, stream: str, *, after: int = 0) -> list[tuple[str, UUID | None]]:
    """Subject and message id of what a stream holds beyond sequence `after`."""
    info = await bus.jetstream.stream_info(stream)
    found: list[tuple[str, UUID | None]] = []
    for sequence in range(max(info.state.first_seq, after + 1), info.state.last_seq + 1):
        message = await bus.jetstream.get_msg(stream, sequence)
        given = (message.headers or {}).get("Nats-Msg-Id")
        found.append((message.subject or "", UUID(given) if given else None))
    return found


async def last_of(bus: Bus, stream: str) -> int:
    return (await bus.jetstream.stream_info(stream)).state.last_seq


def test_streams_follow_the_published_facts() -> None:
    identity = {stream.name: stream for stream in streams_of("identity")}

    assert set(identity) == {"IDENTITY", "AUTHZ"}
    assert "identity.*.account.>" in identity["IDENTITY"].subjects
    assert identity["AUTHZ"].subjects == ("identity.*.authz.>", HEARTBEAT_SUBJECT)
    assert identity["AUTHZ"].max_age == timedelta(minutes=20)
    assert [stream.name for stream in streams_of("documents")] == ["DOCUMENTS"]


async def test_facts_leave_in_the_order_of_their_commits(
    identity_bus: Bus, identity_db: Database, identity_relay: Database
) -> None:
    await keep_streams(identity_bus, identity_relay, "identity")
    before = await last_of(identity_bus, "IDENTITY")
    facts = [an_account() for _ in range(250)]
    await record(identity_db, *facts)

    await Lane(identity_bus, identity_relay, "IDENTITY", urgent=False).drain()

    sent = await stored(identity_bus, "IDENTITY", after=before)
    assert [key for _, key in sent] == [fact.event_id for fact in facts]
    assert {subject for subject, _ in sent} == {"identity.mediterranee.account.activated.v1"}
    assert await unsent(identity_relay) == 0


async def test_two_relays_share_the_work_without_repeating_it(
    identity_bus: Bus, identity_db: Database, identity_relay: Database
) -> None:
    await keep_streams(identity_bus, identity_relay, "identity")
    before = await last_of(identity_bus, "IDENTITY")
    facts = [an_account() for _ in range(300)]
    await record(identity_db, *facts)

    await asyncio.gather(
        *(Lane(identity_bus, identity_relay, "IDENTITY", urgent=False).drain() for _ in range(2))
    )

    sent = [key for _, key in await stored(identity_bus, "IDENTITY", after=before)]
    assert sorted(str(key) for key in sent) == sorted(str(fact.event_id) for fact in facts)


async def test_killed_between_the_broker_and_the_mark_it_sends_again_and_the_broker_recognises_it(
    identity_bus: Bus, identity_db: Database, identity_relay: Database
) -> None:
    await keep_streams(identity_bus, identity_relay, "identity")
    before = await last_of(identity_bus, "IDENTITY")
    fact = an_account()
    await record(identity_db, fact)

    with pytest.raises(Killed):
        async with identity_relay.across_caisses() as tx:
            claimed = await outbox.claim_unsent(tx, urgent=False, resting=[], limit=10)
            assert await identity_bus.publish_all(claimed) == {fact.event_id}
            raise Killed

    assert await unsent(identity_relay) == 1
    await Lane(identity_bus, identity_relay, "IDENTITY", urgent=False).drain()
    assert await unsent(identity_relay) == 0
    assert [key for _, key in await stored(identity_bus, "IDENTITY", after=before)] == [fact.event_id]


async def test_a_fact_that_the_broker_refuses_holds_up_no_other(
    identity_bus: Bus, identity_db: Database, identity_relay: Database
) -> None:
    await keep_streams(identity_bus, identity_relay, "identity")
    refused, good = new_id(), an_account()
    async with identity_db.transaction(CAISSE) as tx:
        # No stream has this subject: what a fact of a coming version meets.
        await tx.execute(
            "INSERT INTO outbox (event_id, caisse, subject, body) VALUES ($1, $2, $3, $4)",
            refused, CAISSE, "identity.mediterranee.unheard.of.v1", b"{}",
        )  # fmt: skip
    await record(identity_db, good)
    lane = Lane(identity_bus, identity_relay, "IDENTITY", urgent=False)

    await lane.drain()
    later = an_account()
    await record(identity_db, later)
    await lane.drain()

    assert await unsent(identity_relay) == 1
    async with identity_relay.across_caisses() as tx:
        assert [
            fact.event_id for fact in await outbox.claim_unsent(tx, urgent=False, resting=[], limit=9)
        ] == [refused]
        await tx.execute("DELETE FROM outbox WHERE event_id = $1", refused)


async def test_an_import_does_not_delay_a_revocation(
    identity_bus: Bus, identity_db: Database, identity_relay: Database
) -> None:
    await keep_streams(identity_bus, identity_relay, "identity")
    before = await last_of(identity_bus, AUTHZ)
    async with identity_db.transaction(CAISSE) as tx:
        await outbox.record_all(tx, [an_account() for _ in range(5000)])
    floor = a_floor()
    await record(identity_db, floor)

    await Lane(identity_bus, identity_relay, AUTHZ, urgent=True).drain()

    assert (await stored(identity_bus, AUTHZ, after=before))[0][1] == floor.event_id
    assert await unsent(identity_relay) == 5000
    async with identity_relay.across_caisses() as tx:
        await tx.execute("DELETE FROM outbox")


async def test_a_floor_is_followed_by_a_heartbeat_that_vouches_for_it(
    identity_bus: Bus, identity_db: Database, identity_relay: Database
) -> None:
    floor = a_floor()
    async with relaying(identity_bus, identity_relay):
        await record(identity_db, floor)
        recorded = datetime.now(UTC)
        async with identity_bus.following(AUTHZ, since=timedelta(minutes=1), patience=5) as told:
            heard_floor = False
            async for message in told:
                if message.subject != HEARTBEAT_SUBJECT:
                    heard_floor = heard_floor or str(floor.event_id).encode() in message.body
                elif msgspec.json.decode(message.body, type=Heartbeat).vouched_until > recorded:
                    break

    assert heard_floor


async def test_a_floor_rings_the_bell_and_waits_for_no_round(
    identity_bus: Bus, identity_db: Database, identity_relay: Database
) -> None:
    async with relaying(identity_bus, identity_relay, round_seconds=3600):
        for _ in range(5):
            await until(lambda: _listens(identity_relay))
            await record(identity_db, a_floor())
            await until(lambda: _is_silent(identity_relay))


async def _listens(relay_db: Database) -> bool:
    async with relay_db.across_caisses() as tx:
        return await tx.fetchval(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND query ILIKE 'listen %')"
        )


async def _is_silent(relay_db: Database) -> bool:
    return await unsent(relay_db) == 0


async def test_nobody_vouches_for_a_floor_in_another_relays_hands(
    identity_bus: Bus, identity_db: Database, identity_relay: Database
) -> None:
    await keep_streams(identity_bus, identity_relay, "identity")
    await record(identity_db, a_floor())
    mine = Lane(identity_bus, identity_relay, AUTHZ, urgent=True)

    async with identity_relay.across_caisses() as theirs:
        claimed = await outbox.claim_unsent(theirs, urgent=True, resting=[], limit=10)
        assert len(claimed) == 1
        assert await mine.drain_and_vouch() is None
        await outbox.mark_sent(theirs, [fact.event_id for fact in claimed])

    assert await mine.drain_and_vouch() is not None


async def test_a_caisse_cannot_publish_as_another_service(adherent_bus: Bus) -> None:
    with pytest.raises(BusUnavailable):
        await adherent_bus.publish(HEARTBEAT_SUBJECT, b"{}", timeout=0.5)


async def test_sent_facts_leave_the_outbox_after_thirty_days(
    identity_db: Database, identity_relay: Database
) -> None:
    old, young = an_account(), an_account()
    await record(identity_db, old, young, caisse=CaisseSlug("grand-ouest"))
    async with identity_relay.across_caisses() as tx:
        await outbox.mark_sent(tx, [old.event_id, young.event_id])
        await tx.execute(
            "UPDATE outbox SET recorded_at = now() - interval '31 days' WHERE event_id = $1", old.event_id
        )
        assert await outbox.forget_sent(tx) == 1
        assert await tx.fetchval("SELECT count(*) FROM outbox WHERE event_id = $1", young.event_id) == 1


async def test_those_who_send_do_not_pass_before_whoever_notices_a_new_stream(
    identity_relay: Database,
) -> None:
    """Two that take turns would keep a new epoch from being noticed for as long as there is something to send."""
    async with identity_relay.across_caisses() as tx:
        await outbox.notice_epoch(tx, "HELD", "the first")
    going = True

    async def send() -> None:
        while going:
            async with identity_relay.across_caisses() as tx:
                assert await outbox.hold_epoch(tx, "HELD")
                await asyncio.sleep(0.2)

    first = asyncio.create_task(send())
    await asyncio.sleep(0.1)
    second = asyncio.create_task(send())
    try:
        # A statement of ours gives up after two seconds.
        async with identity_relay.across_caisses() as tx:
            await outbox.notice_epoch(tx, "HELD", "the second")
    finally:
        going = False
        await asyncio.gather(first, second)


async def test_the_stream_of_revocations_waits_for_no_other(
    identity_bus: Bus, identity_relay: Database
) -> None:
    """The broker lost both; somebody who froze with ordinary facts in his hands keeps theirs from being noticed."""
    await keep_streams(identity_bus, identity_relay, "identity")
    async with identity_relay.across_caisses() as tx:
        await tx.execute("UPDATE stream_epoch SET created = 'lost', refilled_at = NULL")
    stop = asyncio.Event()

    async def epoch(stream: str) -> str | None:
        async with identity_relay.across_caisses() as tx:
            return await outbox.refilled_epoch(tx, stream)

    async def revocations_have_theirs() -> bool:
        return await epoch(AUTHZ) is not None

    async with identity_relay.across_caisses() as frozen:
        await outbox.hold_epoch(frozen, "IDENTITY")
        relaying = asyncio.create_task(identity_relays(identity_bus, identity_relay, stop))
        try:
            await until(revocations_have_theirs)
            assert await epoch("IDENTITY") is None
        finally:
            stop.set()
            await relaying

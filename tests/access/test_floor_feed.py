"""From the commit of a revocation to its refusal, over a real broker: less than a second, or not trusted."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from structlog.testing import capture_logs

from libs.common.access.access_token import AccessToken
from libs.common.access.floor_feed import ClockUnknown, FloorFeed, ReadClock
from libs.common.access.receipts import Receipt, Receipts, receipt_subject
from libs.common.access.revocations import Floors, Verdict
from libs.common.access.signatures import SigningKey, split_compact
from libs.common.bus.connection import Bus
from libs.common.bus.relay import Lane
from libs.common.bus.streams import AUTHZ
from libs.common.database import outbox
from libs.common.database.pool import Database
from libs.common.runtime.embedded_nats import embedded_nats, new_passwords
from libs.common.runtime.settings import Settings
from libs.common.values.identifiers import new_id, public_id
from tests.access.test_floors import a_delegated_token
from tests.bus.conftest import a_floor, linked, record, relaying, until
from tests.relays import identity_relays


@contextlib.asynccontextmanager
async def running(*jobs: Coroutine[Any, Any, None]) -> AsyncGenerator[None, None]:
    tasks = [asyncio.create_task(job) for job in jobs]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def clock_of(db: Database) -> ReadClock:
    """Identity's database, as a service asks for its clock."""

    async def clock() -> datetime:
        async with db.across_caisses() as tx:
            return await outbox.clock(tx)

    return clock


async def judged(floors: Floors, token: AccessToken, verdict: Verdict) -> None:
    async def holds() -> bool:
        return floors.judge(token) is verdict

    await until(holds)


async def revoke(db: Database, token: AccessToken) -> None:
    assert token.mandate is not None
    await record(
        db, a_floor("mandate", public_id("mdt", token.mandate.id), version=token.mandate.version + 1)
    )


async def test_a_revocation_is_applied_in_well_under_a_second(
    settings: Settings, identity_db: Database, identity_relay: Database
) -> None:
    floors = Floors()
    async with (
        linked(settings, "identity") as ours,
        linked(settings, "adherent") as theirs,
        relaying(ours, identity_relay),
        running(FloorFeed(theirs, floors, "adherent", clock=clock_of(identity_relay)).run()),
    ):
        delays: list[float] = []
        for _ in range(10):
            token = await a_delegated_token()
            await judged(floors, token, Verdict.STANDING)
            started = asyncio.get_running_loop().time()
            await revoke(identity_db, token)
            await judged(floors, token, Verdict.REVOKED)
            delays.append(asyncio.get_running_loop().time() - started)

    assert max(delays) < 1.0


async def test_a_process_that_starts_late_learns_what_was_revoked_before(
    settings: Settings, identity_db: Database, identity_relay: Database
) -> None:
    token, floors = await a_delegated_token(), Floors()
    async with (
        linked(settings, "identity") as ours,
        linked(settings, "documents") as theirs,
        relaying(ours, identity_relay),
    ):
        await revoke(identity_db, token)
        await until(lambda: _silent(identity_relay))
        async with running(FloorFeed(theirs, floors, "documents", clock=clock_of(identity_relay)).run()):
            await judged(floors, token, Verdict.REVOKED)
            await judged(floors, await a_delegated_token(), Verdict.STANDING)


async def _silent(relay_db: Database) -> bool:
    async with relay_db.across_caisses() as tx:
        return not await tx.fetchval("SELECT count(*) FROM outbox WHERE sent_at IS NULL")


async def test_a_dead_relay_makes_every_service_stale_and_its_return_fresh(
    settings: Settings, identity_db: Database, identity_relay: Database
) -> None:
    revoked, other, floors = await a_delegated_token(), await a_delegated_token(), Floors()
    async with (
        linked(settings, "identity") as ours,
        linked(settings, "adherent") as theirs,
        running(FloorFeed(theirs, floors, "adherent", clock=clock_of(identity_relay)).run()),
    ):
        async with relaying(ours, identity_relay):
            await judged(floors, other, Verdict.STANDING)
        # The relay died between the commit and the publish.
        died = asyncio.get_running_loop().time()
        await revoke(identity_db, revoked)
        await judged(floors, other, Verdict.UNKNOWN)
        assert asyncio.get_running_loop().time() - died < 1.0
        assert floors.judge(revoked) is Verdict.UNKNOWN

        async with relaying(ours, identity_relay):
            await judged(floors, other, Verdict.STANDING)
            assert floors.judge(revoked) is Verdict.REVOKED


async def test_a_relay_that_cannot_read_the_outbox_vouches_for_nothing(
    settings: Settings, identity_db: Database, identity_relay: Database
) -> None:
    async with linked(settings, "identity") as ours:
        lane = Lane(ours, identity_relay, AUTHZ, urgent=True)
        await record(identity_db, a_floor())
        async with identity_relay.across_caisses() as theirs:
            await theirs.execute("SELECT event_id FROM outbox WHERE sent_at IS NULL FOR UPDATE")
            assert await lane.drain_and_vouch() is None
        await lane.drain()


async def test_a_killed_broker_is_noticed_and_caught_up_with(
    tmp_path: Path, identity_db: Database, identity_relay: Database
) -> None:
    passwords = new_passwords()
    token, revoked, floors = await a_delegated_token(), await a_delegated_token(), Floors()
    stop = asyncio.Event()
    async with contextlib.AsyncExitStack() as stack:
        first = contextlib.AsyncExitStack()
        server = await first.enter_async_context(embedded_nats(tmp_path / "nats", passwords=passwords))

        def bus(user: str) -> Bus:
            link = Bus(server.url, user=user, password=passwords[user], name=user)
            link.start()
            stack.push_async_callback(link.close)
            return link

        feed = FloorFeed(bus("documents"), floors, "documents", clock=clock_of(identity_relay))
        await stack.enter_async_context(
            running(identity_relays(bus("identity"), identity_relay, stop), feed.run())
        )
        await judged(floors, token, Verdict.STANDING)

        await first.aclose()
        await judged(floors, token, Verdict.UNKNOWN)
        await revoke(identity_db, revoked)
        async with embedded_nats(tmp_path / "nats", server.port, passwords=passwords):
            await judged(floors, token, Verdict.STANDING)
            await judged(floors, revoked, Verdict.REVOKED)


async def test_a_receipt_names_who_applied_a_revocation_and_who_did_not(
    settings: Settings, identity_db: Database, identity_relay: Database
) -> None:
    key, floors = SigningKey.generate(), Floors()
    floor, services = a_floor("sid", "s_1"), ("adherent", "documents")
    receipts = Receipts(floor.event_id)
    async with (
        linked(settings, "identity") as ours,
        linked(settings, "adherent") as theirs,
        receipts.listening(ours, services),
        relaying(ours, identity_relay),
        running(FloorFeed(theirs, floors, "adherent", clock=clock_of(identity_relay), signing_key=key).run()),
    ):
        await record(identity_db, floor)
        answered = await receipts.of(services, timeout=3)

    assert answered["documents"] is None
    receipt = answered["adherent"]
    assert receipt is not None and receipt.signature is not None
    parts = split_compact(receipt.signature, limit=2000)
    assert key.verifying().verifies(parts.signature, parts.signed)
    assert msgspec.json.decode(parts.payload)["event_id"] == str(floor.event_id)


async def test_no_service_answers_in_anothers_name(settings: Settings) -> None:
    key = new_id()
    receipts = Receipts(key)
    async with (
        linked(settings, "identity") as ours,
        linked(settings, "adherent") as theirs,
        receipts.listening(ours, ("adherent", "documents")),
    ):
        forged = Receipt(key, "documents", new_id(), datetime.now(UTC))
        await theirs.announce("documents.authz.applied.v1", msgspec.json.encode(forged))
        await theirs.announce("adherent.authz.applied.v1", msgspec.json.encode(forged))
        answered = await receipts.of(("adherent", "documents"), timeout=0.5)

    assert answered == {"adherent": None, "documents": None}


async def test_made_up_receipts_push_no_true_one_out(settings: Settings) -> None:
    key, services = new_id(), ("adherent", "documents")
    receipts = Receipts(key)

    async def says(bus: Bus, service: str, event_id: UUID) -> None:
        receipt = Receipt(event_id, service, new_id(), datetime.now(UTC))
        await bus.announce(receipt_subject(service), msgspec.json.encode(receipt))

    async with (
        linked(settings, "identity") as ours,
        linked(settings, "adherent") as theirs,
        linked(settings, "documents") as others,
        receipts.listening(ours, services),
    ):
        await says(others, "documents", key)
        for _ in range(3000):
            await says(theirs, "adherent", new_id())
        await says(theirs, "adherent", key)
        answered = await receipts.of(services, timeout=5)

    assert all(answered.values())


async def test_an_hour_without_identity_s_clock_is_no_hour_of_lines(settings: Settings) -> None:
    """It is asked twice a second: what is new is said, what goes on is not."""
    asked: list[str] = []

    async def clock() -> datetime:
        asked.append("status 404" if len(asked) < 4 else "ConnectError")
        raise ClockUnknown(asked[-1])

    with capture_logs() as logs:
        async with (
            linked(settings, "adherent") as bus,
            running(FloorFeed(bus, Floors(), "adherent", clock=clock).run()),
        ):

            async def seven_times() -> bool:
                return len(asked) > 6

            await until(seven_times)

    said = [line["reason"] for line in logs if line["event"] == "floors.clock_unknown"]
    assert said == ["status 404", "ConnectError"]

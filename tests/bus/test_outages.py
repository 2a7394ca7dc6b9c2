"""NATS absent, killed or wiped: nothing committed is lost and nobody has to repair anything."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import pytest

from libs.common.bus.connection import Bus, BusUnavailable
from libs.common.bus.consumer import consume
from libs.common.database.pool import Database
from libs.common.database.transaction import Tx
from libs.common.events.identity import AccountActivated
from libs.common.runtime.child_process import free_port
from libs.common.runtime.embedded_nats import NatsServer, embedded_nats, new_passwords
from tests.bus.conftest import CAISSE, an_account, record, unsent, until
from tests.relays import identity_relays


class OwnNats:
    """A broker of this test, which it may stop, start again, or lose with all it stored."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "nats"
        self.port = free_port()
        self.passwords = new_passwords()
        self._stack = contextlib.AsyncExitStack()

    async def start(self) -> NatsServer:
        return await self._stack.enter_async_context(
            embedded_nats(self.folder, self.port, passwords=self.passwords)
        )

    async def stop(self) -> None:
        await self._stack.aclose()

    async def lose_everything(self) -> None:
        await self.stop()
        shutil.rmtree(self.folder)
        await self.start()

    @contextlib.asynccontextmanager
    async def linked(self, user: str) -> AsyncGenerator[Bus, None]:
        bus = Bus(f"nats://127.0.0.1:{self.port}", user=user, password=self.passwords[user], name=user)
        bus.start()
        try:
            yield bus
        finally:
            await bus.close()


@pytest.fixture
async def own_nats(tmp_path: Path) -> AsyncIterator[OwnNats]:
    nats = OwnNats(tmp_path)
    yield nats
    await nats.stop()


@contextlib.asynccontextmanager
async def working(*jobs: Coroutine[Any, Any, None]) -> AsyncGenerator[None, None]:
    tasks = [asyncio.create_task(job) for job in jobs]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Heard:
    """What a consumer heard, by id."""

    def __init__(self) -> None:
        self.ids: list[object] = []

    async def note(self, tx: Tx, event: AccountActivated) -> None:
        self.ids.append(event.event_id)

    async def has(self, *events: AccountActivated) -> bool:
        return {event.event_id for event in events} <= set(self.ids)


async def test_a_process_boots_without_nats_and_finds_it_later(
    own_nats: OwnNats, identity_db: Database, identity_relay: Database, adherent_db: Database
) -> None:
    fact, heard = an_account(), Heard()
    async with own_nats.linked("identity") as ours, own_nats.linked("adherent") as theirs:
        assert not await ours.wait_connected(0.3)
        with pytest.raises(BusUnavailable):
            await ours.publish("identity.authz.heartbeat.v1", b"{}")
        stop = asyncio.Event()
        async with working(
            identity_relays(ours, identity_relay, stop),
            consume(theirs, adherent_db, "IDENTITY", "boots_alone", {AccountActivated: heard.note}),
        ):
            await record(identity_db, fact)
            await asyncio.sleep(0.5)
            assert await unsent(identity_relay) == 1
            await own_nats.start()
            await until(lambda: heard.has(fact))

    assert heard.ids == [fact.event_id]


async def test_a_broker_that_restarts_is_found_again(
    own_nats: OwnNats, identity_db: Database, identity_relay: Database, adherent_db: Database
) -> None:
    before, during, heard = an_account(), an_account(), Heard()
    await own_nats.start()
    async with own_nats.linked("identity") as ours, own_nats.linked("adherent") as theirs:
        stop = asyncio.Event()
        async with working(
            identity_relays(ours, identity_relay, stop),
            consume(theirs, adherent_db, "IDENTITY", "survives_restart", {AccountActivated: heard.note}),
        ):
            await record(identity_db, before)
            await until(lambda: heard.has(before))
            await own_nats.stop()
            await until(lambda: _is_down(ours))
            await record(identity_db, during)
            await own_nats.start()
            await until(lambda: heard.has(before, during))


async def _is_down(bus: Bus) -> bool:
    return not bus.connected


async def test_a_wiped_stream_is_recreated_and_refilled_from_the_outbox(
    own_nats: OwnNats, identity_db: Database, identity_relay: Database, adherent_db: Database
) -> None:
    facts, heard, late = [an_account() for _ in range(30)], Heard(), Heard()
    await own_nats.start()
    async with own_nats.linked("identity") as ours, own_nats.linked("adherent") as theirs:
        stop = asyncio.Event()
        async with working(
            identity_relays(ours, identity_relay, stop),
            consume(theirs, adherent_db, "IDENTITY", "before_the_wipe", {AccountActivated: heard.note}),
        ):
            await record(identity_db, *facts)
            await until(lambda: heard.has(*facts))

            await own_nats.lose_everything()

            # A newcomer hears all of it, from a stream that was empty a moment ago …
            async with working(
                consume(theirs, adherent_db, "IDENTITY", "after_the_wipe", {AccountActivated: late.note})
            ):
                await until(lambda: late.has(*facts))
            # … and whoever had heard it before is not moved, yet hears what is new.
            news = an_account()
            await record(identity_db, news)
            await until(lambda: heard.has(news))

    # The outbox also holds facts of this file's other tests, which come when they come.
    ours = [*(fact.event_id for fact in facts), news.event_id]
    assert [one for one in heard.ids if one in ours] == ours
    async with adherent_db.transaction(CAISSE) as tx:
        kept = await tx.fetchval(
            "SELECT count(*) FROM inbox WHERE consumer = 'before_the_wipe' AND event_id = ANY ($1)", ours
        )
    assert kept == len(ours)


async def test_hanging_up_while_the_broker_is_down_is_quiet(own_nats: OwnNats) -> None:
    await own_nats.start()
    async with own_nats.linked("identity") as bus:
        assert await bus.wait_connected(5)
        await own_nats.stop()
        await until(lambda: _is_down(bus))

    assert not bus.connected

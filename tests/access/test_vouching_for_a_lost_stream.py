"""A heartbeat says that every revocation precedes it, in the very stream that carries it; and no worker keeps one."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import asyncpg
import psutil
import pytest
from msgspec.structs import replace

from libs.common.access.floor_feed import FloorFeed
from libs.common.access.revocations import Floors, Verdict
from libs.common.bus.relay import Lane
from libs.common.bus.streams import AUTHZ
from libs.common.database.pool import Database
from libs.common.runtime.settings import NatsSettings, Settings
from tests.access.test_floor_feed import clock_of, judged, revoke, running
from tests.access.test_floors import a_delegated_token
from tests.bus.conftest import unsent, until
from tests.bus.test_outages import OwnNats
from tests.relays import identity_relays, keep_streams
from tests.runtime.test_work import working


async def test_a_stream_not_yet_filled_again_is_not_vouched_for(
    settings: Settings, identity_db: Database, identity_relay: Database, tmp_path: Path
) -> None:
    """The broker lost all; the process that fills it again is held up between declaring and filling it."""
    token, floors, nats = await a_delegated_token(), Floors(), OwnNats(tmp_path)
    await nats.start()
    settings = replace(
        settings,
        nats=NatsSettings(url=f"nats://127.0.0.1:{nats.port}"),
        identity=replace(settings.identity, nats_password=nats.passwords["identity"]),
    )
    somebody = await asyncpg.connect(settings.identity.owner_dsn)
    try:
        async with working(settings, tmp_path), nats.linked("adherent") as theirs:
            await revoke(identity_db, token)

            async def all_left() -> bool:
                return await unsent(identity_relay) == 0

            await until(all_left)
            await somebody.execute("BEGIN")
            await somebody.execute("SELECT FROM stream_epoch WHERE stream = $1 FOR UPDATE", AUTHZ)
            await nats.lose_everything()
            assert await theirs.wait_connected(10)
            async with running(FloorFeed(theirs, floors, "adherent", clock=clock_of(identity_relay)).run()):
                for _ in range(200):
                    assert floors.judge(token) is not Verdict.STANDING, "a revoked token stands"
                    assert not floors.caught_up, "an empty stream passes for one that was read to its end"
                    await asyncio.sleep(0.01)
                await somebody.execute("COMMIT")
                await judged(floors, token, Verdict.REVOKED)

                async def is_caught_up() -> bool:
                    return floors.caught_up

                # The revocation comes first, the heartbeat that vouches for the stream after it.
                await until(is_caught_up)
    finally:
        await somebody.close()
        await nats.stop()


async def test_a_revocation_marked_sent_after_its_stream_was_lost_is_sent_again(
    identity_db: Database, identity_relay: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker loses all between its word and our mark, and the new stream is declared meanwhile."""
    token, floors, nats = await a_delegated_token(), Floors(), OwnNats(tmp_path)
    await nats.start()
    try:
        async with nats.linked("identity") as ours, nats.linked("adherent") as theirs:
            assert await ours.wait_connected(5)
            await keep_streams(ours, identity_relay, "identity")
            await revoke(identity_db, token)
            publish, refilling = ours.publish_all, list[asyncio.Task[None]]()

            async def publish_and_lose(facts: Sequence[tuple[UUID, str, bytes]]) -> set[UUID]:
                sent = await publish(facts)
                if facts and not refilling:
                    await nats.lose_everything()
                    assert await ours.wait_connected(5)
                    refilling.append(asyncio.create_task(keep_streams(ours, identity_relay, "identity")))
                    await asyncio.sleep(0.3)
                return sent

            monkeypatch.setattr(ours, "publish_all", publish_and_lose)
            await Lane(ours, identity_relay, AUTHZ, urgent=True).drain()
            await refilling[0]
            async with identity_relay.across_caisses() as tx:
                marked = await tx.fetchval("SELECT count(*) FROM outbox WHERE sent_at IS NOT NULL")
            assert marked == 0, "what the broker lost is to be sent again, all of it"
            assert await theirs.wait_connected(5)
            async with running(
                identity_relays(ours, identity_relay, asyncio.Event()),
                FloorFeed(theirs, floors, "adherent", clock=clock_of(identity_relay)).run(),
            ):
                for _ in range(200):
                    assert floors.judge(token) is not Verdict.STANDING, "a revoked token stands"
                    await asyncio.sleep(0.01)
    finally:
        await nats.stop()


async def test_a_revocation_in_the_hands_of_a_frozen_worker_is_sent_by_another(
    settings: Settings, identity_db: Database, identity_relay: Database, tmp_path: Path
) -> None:
    """Its machine is suspended, or lost without a word, between the claim and the mark."""
    token, nats = await a_delegated_token(), OwnNats(tmp_path)
    await nats.start()
    settings = replace(
        settings,
        nats=NatsSettings(url=f"nats://127.0.0.1:{nats.port}"),
        identity=replace(settings.identity, nats_password=nats.passwords["identity"]),
    )
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()

    async def all_left() -> bool:
        return await unsent(identity_relay) == 0

    async def is_claimed() -> bool:
        async with identity_relay.across_caisses() as tx:
            return not await tx.fetch("SELECT FROM outbox WHERE sent_at IS NULL FOR UPDATE SKIP LOCKED")

    try:
        async with working(settings, tmp_path / "first") as first:
            await revoke(identity_db, token)
            await until(all_left)
            broker = psutil.Process(_pid_on(nats.port))
            broker.suspend()
            await revoke(identity_db, await a_delegated_token())
            await until(is_claimed)
            first.urgent.suspend()
            broker.resume()
            async with working(settings, tmp_path / "second"):
                await until(all_left, within=timedelta(seconds=20))
    finally:
        await nats.stop()


def _pid_on(port: int) -> int:
    def listens(process: psutil.Process) -> bool:
        return any(
            one.status == psutil.CONN_LISTEN and one.laddr and one.laddr[1] == port
            for one in process.net_connections("tcp")
        )

    return next(one.pid for one in psutil.Process().children(recursive=True) if listens(one))

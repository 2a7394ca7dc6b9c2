"""`espace work`: what is urgent has a process of its own; how they end."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
from msgspec.structs import replace

from libs.common.database.pool import Database
from libs.common.events.envelope import Event
from libs.common.runtime.child_process import free_port
from libs.common.runtime.settings import MailSettings, Settings, to_environment
from tests.bus.conftest import a_floor, an_account, record, until
from tests.faults.database_proxy import database_proxy
from tests.runtime.running import ESPACE, ROOT, clean_environment


def named(parent: int) -> dict[str, psutil.Process]:
    """The processes of a worker, by the name each has in the list of processes."""
    titles = {child: " ".join(child.cmdline()) for child in psutil.Process(parent).children()}
    return {
        title.partition("(")[2].rstrip(")"): child for child, title in titles.items() if title.endswith(")")
    }


class Worker:
    """`espace work identity`, and the processes it works in."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self.process, self.log = process, log
        by_name = named(process.pid)
        self.everything_else, self.urgent = by_name["all but urgent"], by_name["urgent"]

    async def ended(self) -> int:
        """The exit code, once nothing is left of it."""
        code = await asyncio.wait_for(self.process.wait(), 10)
        _, alive = await asyncio.to_thread(psutil.wait_procs, [self.everything_else, self.urgent], 10)
        assert alive == []
        return code


@asynccontextmanager
async def working(settings: Settings, folder: Path) -> AsyncGenerator[Worker, None]:
    """Started, and none of it left afterwards. Nobody listens at its mail server."""
    settings = replace(settings, mail=MailSettings(host="127.0.0.1", port=9))
    log = folder / "work.log"
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *ESPACE[1:], "work", "identity",
            cwd=ROOT, env=clean_environment() | to_environment(settings),
            stdout=output, stderr=asyncio.subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:

        async def has_parted() -> bool:
            assert process.returncode is None, log.read_text("utf-8")[-3000:]
            return named(process.pid).keys() == {"all but urgent", "urgent"}

        await until(has_parted)
        yield Worker(process, log)
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def left(relay_db: Database, fact: Event) -> bool:
    """Whether the broker has it."""
    async with relay_db.across_caisses() as tx:
        return await tx.fetchval("SELECT sent_at IS NOT NULL FROM outbox WHERE event_id = $1", fact.event_id)


async def test_a_revocation_waits_for_nothing_else_that_a_worker_does(
    settings: Settings, identity_db: Database, identity_relay: Database, tmp_path: Path
) -> None:
    first, revoked, told = a_floor(), a_floor(), an_account()
    async with working(settings, tmp_path) as worker:
        await record(identity_db, first)
        # The streams are there, and the relay at work.
        await until(lambda: left(identity_relay, first))
        worker.everything_else.suspend()
        await record(identity_db, told, revoked)
        await until(lambda: left(identity_relay, revoked))
        assert not await left(identity_relay, told), (
            "the process that sends ordinary facts was not the one stopped"
        )
        worker.everything_else.resume()
        await until(lambda: left(identity_relay, told))


async def test_told_to_end_both_do(settings: Settings, tmp_path: Path) -> None:
    async with working(settings, tmp_path) as worker:
        os.kill(worker.process.pid, signal.SIGTERM)
        assert await worker.ended() == 0
        assert "Traceback" not in worker.log.read_text("utf-8")


@pytest.mark.parametrize("victim", ["everything_else", "urgent", "parent"])
async def test_one_that_dies_takes_the_others_along(settings: Settings, tmp_path: Path, victim: str) -> None:
    """Whoever supervises us then starts all of them again."""
    async with working(settings, tmp_path) as worker:
        pid = worker.process.pid if victim == "parent" else getattr(worker, victim).pid
        os.kill(pid, signal.SIGKILL)
        assert await worker.ended() != 0


async def test_postgresql_away_at_the_start_is_waited_for(
    settings: Settings, identity_db: Database, identity_relay: Database, tmp_path: Path
) -> None:
    """Whoever starts everything at once starts the worker first, now and then."""
    async with database_proxy(settings.identity.dsn) as proxy:
        # A door that opens later, at an address known from now on.
        port = free_port()

        def later(dsn: str) -> str:
            return proxy.in_front_of(dsn).replace(f":{proxy.port}", f":{port}")

        identity = replace(
            settings.identity, dsn=later(settings.identity.dsn), relay_dsn=later(settings.identity.relay_dsn)
        )
        async with working(replace(settings, identity=identity), tmp_path) as worker:

            async def both_wait() -> bool:
                return worker.log.read_text("utf-8").count("work.waiting") >= 2

            await until(both_wait)
            door = await asyncio.start_server(proxy.serve, "127.0.0.1", port)
            revoked = a_floor()
            await record(identity_db, revoked)
            await until(lambda: left(identity_relay, revoked), within=timedelta(seconds=30))
            assert worker.process.returncode is None
        door.close()

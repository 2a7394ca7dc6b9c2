"""`espace serve`: one process that answers, or several on one socket; how each of them ends."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
from msgspec.structs import replace

from libs.common.runtime.child_process import free_port
from libs.common.runtime.settings import Settings, to_environment
from tests.faults.serving import Serving, serving
from tests.runtime.running import ESPACE, ROOT, clean_environment


@pytest.fixture
def alone(settings: Settings) -> Settings:
    return replace(settings, identity=replace(settings.identity, port=free_port()))


@asynccontextmanager
async def shared(settings: Settings, folder: Path, workers: int) -> AsyncIterator[Serving]:
    async with serving("identity", settings, folder, f"--workers={workers}") as served:
        yield served


def answering(served: Serving) -> list[psutil.Process]:
    return psutil.Process(served.pid).children()


async def test_one_process_answers_and_ends_well_when_told(alone: Settings, tmp_path: Path) -> None:
    async with serving("identity", alone, tmp_path) as served, served.http() as http:
        assert (await http.get("/health/live")).status_code == 200
        assert answering(served) == []
        os.kill(served.pid, signal.SIGTERM)
        assert await served.ended(5) == 0


async def test_a_request_under_way_is_answered_before_the_end(alone: Settings, tmp_path: Path) -> None:
    async with serving("identity", alone, tmp_path) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", alone.identity.port)
        writer.write(
            b"POST /mediterranee/token HTTP/1.1\r\nHost: id.example.test\r\nContent-Length: 4\r\n\r\n"
        )
        async with served.http() as http:
            # Answered after the other one's head was read: it is under way.
            assert (await http.get("/health/live")).status_code == 200
        os.kill(served.pid, signal.SIGTERM)
        await asyncio.sleep(0.3)
        writer.write(b"a=bc")
        async with asyncio.timeout(5):
            assert (await reader.readline()).startswith(b"HTTP/1.1 4")
        assert await served.ended(5) == 0
        writer.close()


async def test_told_to_end_while_it_starts(alone: Settings) -> None:
    """Whatever the moment: no SIGTERM is lost, none leaves a trace of an error."""
    for patience in (0.05, 0.3, 0.8):
        process = await asyncio.create_subprocess_exec(
            sys.executable, *ESPACE[1:], "serve", "identity",
            cwd=ROOT, env=clean_environment() | to_environment(alone),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        await asyncio.sleep(patience)
        process.terminate()
        async with asyncio.timeout(10):
            said, _ = await process.communicate()
        assert process.returncode in (0, -signal.SIGTERM), said
        assert b"Traceback" not in said


@pytest.mark.parametrize("job", ["serve", "work"])
async def test_told_to_end_where_nothing_that_is_raised_is_heard(alone: Settings, job: str) -> None:
    """A library is imported, a finalizer runs: what a handler raises there is printed, and forgotten."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.runtime.told_in_a_finalizer", job,
        cwd=ROOT, env=clean_environment() | to_environment(alone), stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(60):
            _, said = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert b"Exception ignored in" in said and b"SystemExit" in said
    assert process.returncode == 0


async def test_several_processes_share_the_address(alone: Settings, tmp_path: Path) -> None:
    async with shared(alone, tmp_path, 2) as served:
        assert len(answering(served)) == 2

        async def answers() -> int:
            async with served.http() as http:
                return (await http.get("/health/live")).status_code

        assert set(await asyncio.gather(*(answers() for _ in range(20)))) == {200}
        workers = answering(served)
        os.kill(served.pid, signal.SIGTERM)
        assert await served.ended(5) == 0
        assert not any(worker.is_running() for worker in workers)


@pytest.mark.parametrize("victim", ["worker", "server"])
async def test_a_process_that_dies_leaves_no_other_behind(
    alone: Settings, tmp_path: Path, victim: str
) -> None:
    async with shared(alone, tmp_path, 2) as served:
        workers = answering(served)
        os.kill(workers[0].pid if victim == "worker" else served.pid, signal.SIGKILL)
        assert await served.ended(10) != 0
        _, alive = await asyncio.to_thread(psutil.wait_procs, workers, 10)
        assert alive == []


async def test_an_address_in_use_is_refused_with_the_remedy(alone: Settings, tmp_path: Path) -> None:
    async with serving("identity", alone, tmp_path):
        second = await asyncio.create_subprocess_exec(
            sys.executable, *ESPACE[1:], "serve", "identity",
            cwd=ROOT, env=clean_environment() | to_environment(alone),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said, _ = await second.communicate()
    assert second.returncode == 4
    assert f"Le port {alone.identity.port} est déjà pris" in said.decode()


@pytest.mark.parametrize("command", [["serve", "identity"], ["work", "identity"]])
async def test_a_root_key_that_is_none_refuses_the_start_in_a_sentence(
    alone: Settings, command: list[str]
) -> None:
    """Exit code 3, for whoever restarts it: to try again is no remedy."""
    wrong = replace(alone, keys=replace(alone.keys, key_encryption_key="abc"))
    ended = await asyncio.create_subprocess_exec(
        *ESPACE, *command, cwd=ROOT, env=clean_environment() | to_environment(wrong),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said = (await ended.communicate())[0].decode()
    assert ended.returncode == 3, said
    assert "keys.key_encryption_key" in said and "Traceback" not in said

"""`espace work`: what ends it are its own processes and whoever tells it to; nothing of it is left behind."""

import asyncio
import os
import shlex
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
from msgspec.structs import replace

from libs.common.runtime.settings import MailSettings, Settings, to_environment
from tests.bus.conftest import until
from tests.runtime.running import ESPACE, ROOT, clean_environment, has_ended
from tests.runtime.test_work import working

COMMAND = [sys.executable, *ESPACE[1:], "work", "identity"]


@asynccontextmanager
async def launched(
    settings: Settings, folder: Path, *command: str
) -> AsyncGenerator[asyncio.subprocess.Process, None]:
    """`command`, which becomes the worker; none of it is left afterwards."""
    settings = replace(settings, mail=MailSettings(host="127.0.0.1", port=9))
    with (folder / "work.log").open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, env=clean_environment() | to_environment(settings),
            stdout=output, stderr=asyncio.subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


def children_of(process: asyncio.subprocess.Process) -> list[psutil.Process]:
    assert process.returncode is None
    found = psutil.Process(process.pid).children()
    return sorted(found, key=lambda child: (child.create_time(), child.pid))


async def test_a_child_that_is_not_its_own_ends_without_it(settings: Settings, tmp_path: Path) -> None:
    """What a shell began before `exec`, or an orphan that a container gives to its first process."""
    async with launched(settings, tmp_path, "sh", "-c", f"sleep 8 & exec {shlex.join(COMMAND)}") as process:

        async def has_parted() -> bool:
            return len(children_of(process)) == 3

        async def stranger_has_ended() -> bool:
            return has_ended(stranger)

        await until(has_parted)
        stranger = children_of(process)[0]
        assert stranger.name() == "sleep"
        await until(stranger_has_ended)
        await asyncio.sleep(1)
        assert process.returncode is None, "it ended with a process that was not its own"


async def test_whoever_launched_it_deaf_to_its_children_it_hears_them(
    settings: Settings, tmp_path: Path
) -> None:
    """An ignored SIGCHLD outlives `exec` (signal(7)): wait(2) then returns once every child has ended, not one."""
    deaf = "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    async with launched(settings, tmp_path, sys.executable, "-c", deaf, *COMMAND) as process:

        async def has_parted() -> bool:
            return len(children_of(process)) == 2

        await until(has_parted)
        children_of(process)[1].kill()
        assert await asyncio.wait_for(process.wait(), 10) != 0


async def test_told_twice_it_leaves_no_process_behind(settings: Settings, tmp_path: Path) -> None:
    """A second Ctrl-C, or a supervisor that asks again: whoever hangs is killed all the same."""
    async with working(settings, tmp_path) as worker:
        worker.urgent.suspend()
        try:
            for _ in range(2):
                os.kill(worker.process.pid, signal.SIGTERM)
                await asyncio.sleep(0.5)
            await worker.ended()
        finally:
            if worker.urgent.is_running():
                worker.urgent.kill()

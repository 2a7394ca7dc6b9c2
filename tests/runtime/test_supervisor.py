"""A tier told to stop while its processes come to be: none of them is left."""

import asyncio
import sys
from pathlib import Path

import psutil
import pytest

from libs.common.runtime.child_process import Command, Process, start
from libs.common.runtime.supervisor import Server, Supervisor


async def never(_: Process) -> bool:
    return False


@pytest.mark.parametrize("after", [0.0, 0.1, 0.25])
async def test_cancelled_while_a_process_slowly_starts_it_is_known_and_stopped(tmp_path: Path, after: float):
    """As one does whose number the nursery has yet to tell."""
    begun: list[int] = []

    async def slowly(command: Command, log: int) -> Process:
        process = await start(command, log)
        begun.append(process.pid)
        # The first to be done makes the tier cancel the others, a second time.
        await asyncio.sleep(0.15 * len(begun))
        return process

    sleeper = Command([sys.executable, "-c", "import time; time.sleep(60)"])
    servers = [Server(f"sleeper {n}", lambda: sleeper, never, tmp_path / f"{n}.log") for n in range(3)]
    supervisor = Supervisor(lambda _: None, slowly)
    starting = asyncio.create_task(supervisor.start(servers))
    await asyncio.sleep(after)
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    await supervisor.stop()

    assert [pid for pid in begun if psutil.pid_exists(pid)] == []
    assert {server.process.pid for server in servers if server.process} == set(begun)

"""The nursery: what it forks is ours as if executed, and nothing that must not be copied is in it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from libs.common.runtime.child_process import Command, Process, stop
from libs.common.runtime.forked_process import ForkedProcess, Nursery, without_settings
from tests.runtime.running import ESPACE, ROOT, clean_environment, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks are adopted on Linux alone")

IMPORTED = """
import gc, json, os, sys, threading
from importlib import import_module
from libs.common.runtime.lean_imports import import_lean
from libs.common.runtime.nursery import SHARED
import_lean()
for name in SHARED:
    import_module(name)
import asyncio
print(json.dumps({
    "threads": len(os.listdir("/proc/self/task")),
    "loop": asyncio._get_running_loop() is not None,
    "services": sorted(name for name in sys.modules if name.startswith("services.")),
    "sockets": [name for name in os.listdir("/proc/self/fd")
                if os.path.exists(f"/proc/self/fd/{name}") and "socket" in os.readlink(f"/proc/self/fd/{name}")],
}))
"""


@pytest.fixture
async def nursery(tmp_path: Path) -> AsyncIterator[Nursery]:
    opened = Nursery()
    await opened.open(tmp_path / "nursery.log")
    yield opened
    await opened.close()


def our(*arguments: str, **environment: str) -> Command:
    return Command(
        [*ESPACE, *arguments],
        {**without_settings(), **environment},
        directory=ROOT,
        arguments=arguments,
    )


async def started(nursery: Nursery, command: Command, log: Path) -> Process:
    with log.open("ab") as output:
        return await nursery.start(command, output.fileno())


def test_nothing_that_a_fork_would_spoil_is_imported():
    told = subprocess.run(
        [sys.executable, "-c", IMPORTED],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(told.stdout) == {
        "threads": 1,
        "loop": False,
        "services": ["services.registry"],
        "sockets": [],
    }


async def test_a_forked_command_ends_and_speaks_as_an_executed_one(nursery: Nursery, tmp_path: Path):
    for words in (["--version"], ["serve", "nobody"], ["serve", "identity"]):
        executed = subprocess.run([*ESPACE, *words], cwd=ROOT, env=clean_environment(), capture_output=True)
        forked = await started(nursery, our(*words), tmp_path / "log")

        assert isinstance(forked, ForkedProcess)
        assert await forked.wait() == executed.returncode
        assert (tmp_path / "log").read_bytes() == executed.stdout + executed.stderr
        (tmp_path / "log").unlink()


async def test_a_forked_server_is_our_child_with_its_own_group_settings_and_name(
    nursery: Nursery, tmp_path: Path
):
    config = tmp_path / "catcher.toml"
    config.write_text(
        f'post_office = "{tmp_path}"\n[catcher]\nport = 0\nsmtp_port = 0\nfolder = "{tmp_path}"\n'
    )
    forked = await started(nursery, our("--config", str(config), "mail-catcher"), tmp_path / "log")
    seen = psutil.Process(forked.pid)
    try:
        await asyncio.to_thread(wait_until, lambda: " ".join(seen.cmdline()).endswith("mail-catcher"))
        title = " ".join(seen.cmdline())
        assert seen.ppid() == os.getpid()
        assert os.getpgid(forked.pid) == forked.pid
        assert title.strip() == " ".join([*ESPACE, "--config", str(config), "mail-catcher"])
        assert seen.cwd() == str(ROOT)
    finally:
        await stop(forked, signal.SIGTERM, 5)
    assert not psutil.pid_exists(forked.pid)
    assert forked.returncode is not None


async def test_a_dead_nursery_is_done_without(nursery: Nursery, tmp_path: Path):
    assert nursery._process is not None
    nursery._process.send_signal(signal.SIGKILL)
    await nursery._process.wait()

    executed = await started(nursery, our("--version"), tmp_path / "log")
    assert isinstance(executed, asyncio.subprocess.Process)
    assert await executed.wait() == 0

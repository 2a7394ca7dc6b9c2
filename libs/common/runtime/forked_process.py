"""`espace up` and its nursery: ask for a child, keep it as one's own."""

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import sys
from pathlib import Path
from typing import IO

import msgspec

from libs.common.runtime.child_process import Command, Process, start, stop
from libs.common.runtime.nursery_order import Order

_PR_SET_CHILD_SUBREAPER = 36
PATIENCE = 30.0
"""Seconds the nursery may take over its imports and one fork before it is given up."""


class ForkedProcess:
    """A child that we did not start but adopted; the part of `asyncio.subprocess.Process` that a supervisor needs."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ended = asyncio.Event()
        self._handle = os.pidfd_open(pid)
        asyncio.get_running_loop().add_reader(self._handle, self._reap)

    def send_signal(self, how: int) -> None:
        if self.returncode is not None:
            raise ProcessLookupError
        os.kill(self.pid, how)

    async def wait(self) -> int:
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    def _reap(self) -> None:
        asyncio.get_running_loop().remove_reader(self._handle)
        os.close(self._handle)
        _, status = os.waitpid(self.pid, 0)
        self.returncode = os.waitstatus_to_exitcode(status)
        self._ended.set()


class Nursery:
    """Our end of the nursery. Where it cannot be, or is no longer, commands are executed as anywhere else."""

    def __init__(self) -> None:
        self._process: Process | None = None
        self._orders: socket.socket | None = None
        self._turn = asyncio.Lock()

    async def open(self, log: Path) -> None:
        """Start it; it imports while we do something else. Linux alone lets us adopt what it forks."""
        if sys.platform != "linux" or not hasattr(os, "pidfd_open"):
            return
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(PATIENCE)
        _adopt_orphans(True)
        with its, log.open("ab") as output:
            os.fchmod(output.fileno(), 0o600)
            command = Command(
                [sys.executable, "-m", "libs.common.runtime.nursery"],
                without_settings(),
                directory=Path(__file__).resolve().parents[3],
            )
            self._process = await start(command, output.fileno(), stdin=its.fileno())
        self._orders = ours

    async def start(self, command: Command, log: IO[bytes] | int | None = None) -> Process:
        """Start `command`: forked when it is one of ours that writes to a file, executed otherwise."""
        if self._orders is not None and command.arguments and isinstance(log, int) and log >= 0:
            async with self._turn:
                try:
                    return ForkedProcess(await asyncio.to_thread(self._ask, command, log))
                except (OSError, ValueError):
                    # It died, or never came to life; its log says why.
                    await self.close()
        return await start(command, log)

    async def close(self) -> None:
        """End it: what is started from now on is executed, from the code that is then on the disk."""
        orders, self._orders = self._orders, None
        process, self._process = self._process, None
        if orders is not None:
            orders.close()
            _adopt_orphans(False)
        if process is not None:
            await stop(process, signal.SIGTERM, 2)

    def _ask(self, command: Command, log: int) -> int:
        assert self._orders is not None
        order = Order(
            list(command.arguments),
            dict(command.environment),
            str(command.directory or Path.cwd()),
            command.stop_signal,
        )
        socket.send_fds(self._orders, [msgspec.json.encode(order)], [log])
        return int(self._orders.recv(32))


def without_settings() -> dict[str, str]:
    """Our environment without anything of Espace's."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ESPACE_")}
    return inherited | {"PYTHONUNBUFFERED": "1"}


def _adopt_orphans(yes: bool) -> None:
    """Whether a process whose parent ends, below us, becomes ours instead of init's (prctl(2))."""
    with contextlib.suppress(OSError):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(yes), 0, 0, 0)

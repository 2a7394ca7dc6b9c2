"""Starts servers in order, restarts those that die, stops them in the opposite order, leaves nothing behind."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from libs.common.runtime.child_process import Command, Process, StartRefused, start, stop, tail

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0
"""Seconds before a dead server is started again; doubled each time it dies young."""
HEALTHY_AFTER = 30.0
"""A server that lived this long is forgiven its earlier deaths."""
LARGEST_LOG = 10 * 1024 * 1024

Notice = Callable[[str], None]
"""Where the sentences go that a person should see."""

Start = Callable[[Command, int], Awaitable[Process]]
"""How a process comes to be: `start` executes it; its output goes to the descriptor."""


@dataclass
class Server:
    """One process to keep alive."""

    name: str
    command: Callable[[], Command]
    """Made anew at each start, so that what a dead process left is cleaned up."""
    is_ready: Callable[[Process], Awaitable[bool]]
    log: Path
    patience: float = 3.0
    """Seconds between the request to stop and SIGKILL."""
    within: float = 120.0
    """Seconds it may take to be ready."""
    stop_signal: signal.Signals = signal.SIGTERM
    process: Process | None = field(default=None, repr=False)
    deaths: int = 0


class Supervisor:
    """The servers of one `espace up`, by tiers: a tier starts whole before the next and stops whole after it."""

    def __init__(self, notice: Notice, start: Start = start) -> None:
        self._tiers: list[list[Server]] = []
        self._keepers: list[asyncio.Task[None]] = []
        self._notice = notice
        self._start = start

    @property
    def servers(self) -> list[Server]:
        return [server for tier in self._tiers for server in tier]

    async def start(self, servers: Sequence[Server]) -> None:
        """Start one tier and wait until each server is ready. Raises `StartRefused` with the last words of one."""
        self._tiers.append(list(servers))
        starting = [asyncio.create_task(self._bring_up(server)) for server in servers]
        try:
            await asyncio.gather(*starting)
        except BaseException:
            for task in starting:
                task.cancel()
            await asyncio.gather(*starting, return_exceptions=True)
            raise
        self._keepers += [asyncio.create_task(self._keep(server)) for server in servers]

    async def stop(self) -> None:
        """Stop every server, last tier first; returns when all of them, and what they started, are gone."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        for tier in reversed(self._tiers):
            await asyncio.gather(*(_end(server) for server in tier))
        self._tiers.clear()

    async def _bring_up(self, server: Server) -> None:
        began = time.monotonic()
        # Not to be interrupted between the fork and the note of it: the process would be nobody's.
        process = await _whole(_start(server, self._start))
        while time.monotonic() < began + server.within:
            if process.returncode is not None:
                _end_group(process)
                raise StartRefused(
                    f"{server.name} s'est arrêté en démarrant (code {process.returncode}). "
                    f"Son journal ({server.log}) finit par :\n{tail(server.log)}"
                )
            if await server.is_ready(process):
                return
            await asyncio.sleep(0.05)
        raise StartRefused(
            f"{server.name} n'est pas prêt au bout de {server.within:.0f} s. "
            f"Son journal ({server.log}) finit par :\n{tail(server.log)}"
        )

    async def _keep(self, server: Server) -> None:
        """Start `server` again each time it dies, a little later each time."""
        while True:
            began = time.monotonic()
            assert server.process is not None
            code = await server.process.wait()
            _end_group(server.process)
            server.deaths = 0 if time.monotonic() - began > HEALTHY_AFTER else server.deaths
            pause = min(FIRST_PAUSE * 2**server.deaths, LONGEST_PAUSE)
            server.deaths += 1
            self._notice(f"{server.name} s'est arrêté ({_how(code)}) ; redémarrage dans {pause:.1f} s.")
            await asyncio.sleep(pause)
            try:
                await self._bring_up(server)
                self._notice(f"{server.name} est reparti.")
            except StartRefused as refused:
                self._notice(str(refused))
                await _end(server)


async def _start(server: Server, start: Start) -> Process:
    server.log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if server.log.exists() and server.log.stat().st_size > LARGEST_LOG:
        server.log.replace(server.log.with_suffix(".log.1"))
    command = await asyncio.to_thread(server.command)
    with server.log.open("ab") as output:
        os.fchmod(output.fileno(), 0o600)
        server.process = await start(command, output.fileno())
    server.stop_signal = command.stop_signal
    return server.process


async def _end(server: Server) -> None:
    if server.process is not None:
        await stop(server.process, server.stop_signal, server.patience)
        _end_group(server.process)


def _end_group(process: Process) -> None:
    """What a dead server had started itself must not go on answering in its place."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


async def _whole(starting: Coroutine[Any, Any, Process]) -> Process:
    """Await `starting` to its end however often we are cancelled meanwhile; the cancellation follows."""
    task = asyncio.create_task(starting)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            # Told to stop, a tier is cancelled twice: by who waits for it, then by itself.
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({task})
        raise


def _how(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"code {code}"

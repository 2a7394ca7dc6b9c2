"""A server we start: its own process group, a signal when we die, a way to stop it for certain."""

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any, Protocol

_PR_SET_PDEATHSIG = 1
_libc: ctypes.CDLL | None = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class StartRefused(Exception):
    """A server cannot be started here; the message is the sentence and the remedy an operator reads."""


@dataclass(frozen=True)
class Command:
    """What to execute, as whom, and how it is asked to stop."""

    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    uid: int | None = None
    """Unprivileged user to become, when we are root."""
    stop_signal: signal.Signals = signal.SIGTERM
    directory: Path | None = None
    arguments: Sequence[str] = ()
    """What `argv` gives to `espace`, when it is one of our own commands."""


class Process(Protocol):
    """What a supervisor needs of a child, however it came to be."""

    @property
    def pid(self) -> int: ...
    @property
    def returncode(self) -> int | None: ...
    def send_signal(self, how: int, /) -> None: ...
    async def wait(self) -> int: ...


async def start(
    command: Command, log: IO[bytes] | int | None = None, *, stdin: int = asyncio.subprocess.DEVNULL
) -> asyncio.subprocess.Process:
    """Start `command` in its own process group; on Linux it gets its stop signal if we are killed."""
    identity: dict[str, Any] = {}
    if command.uid is not None:
        identity = {"user": command.uid, "group": command.uid, "extra_groups": []}
    return await asyncio.create_subprocess_exec(
        *command.argv,
        env=dict(command.environment),
        cwd=command.directory,
        stdin=stdin,
        stdout=log,
        stderr=asyncio.subprocess.STDOUT if log is not None else None,
        process_group=0,
        # Runs after the change of user, which would clear the request.
        preexec_fn=partial(die_with_parent, command.stop_signal, expected_parent=os.getpid()),
        **identity,
    )


async def stop(process: Process, how: signal.Signals, patience: float) -> None:
    """Ask `process` to end, then, after `patience` seconds, kill its whole group."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(how)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), patience)
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def free_port() -> int:
    """A loopback port nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def port_is_taken(port: int, host: str = "127.0.0.1") -> bool:
    """Whether listening on `port` would fail."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return True
    return False


def tail(log: Path, lines: int = 8) -> str:
    """The last lines of a server's log, for the sentence that says why it did not start; no traceback."""
    if not log.exists():
        return ""
    return "\n".join(_in_short(line) for line in log.read_text("utf-8", "replace").splitlines()[-lines:])


def _in_short(line: str) -> str:
    """A line of our JSON logs as a person reads it: the event, and the last word of its exception."""
    try:
        event = json.loads(line)
        cause = [part.strip(" |+-") for part in str(event.get("exception", "")).splitlines()]
        words = [str(event["event"]).partition("\n")[0], next((part for part in reversed(cause) if part), "")]
    except (ValueError, KeyError, TypeError, AttributeError):
        words = [line]
    return "  " + " : ".join(word for word in words if word)[:400]


def die_with_parent(how: signal.Signals = signal.SIGTERM, *, expected_parent: int) -> None:
    """Ask the kernel (Linux) to send us `how` when our parent ends; end now when it already has."""
    if _libc:
        _libc.prctl(_PR_SET_PDEATHSIG, how)
    if os.getppid() != expected_parent:
        os._exit(1)

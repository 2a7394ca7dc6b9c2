"""A real `espace up` in a process of its own, and what is left of it."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

import psutil

from libs.common.runtime.child_process import port_is_taken

ROOT = Path(__file__).resolve().parents[2]
ESPACE = [sys.executable, "-m", "libs.common.runtime.cli"]
PATIENCE = 240.0
"""Seconds a condition may take on a machine that also runs everything else."""


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("ESPACE_")}


def espace(
    *arguments: str, timeout: float = PATIENCE, directory: Path = ROOT, **more: Any
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [*ESPACE, *arguments],
        cwd=directory,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=timeout,
        **more,
    )


class Up:
    """`espace up` on `data` and the ports from `port_base`."""

    def __init__(self, data: Path, port_base: int, *arguments: str) -> None:
        self.data, self.port_base = data, port_base
        self.ready_file = data.with_name(data.name + "-ready.json")
        self.said = data.with_name(data.name + "-said.txt")
        options = [
            "up",
            "--data",
            str(data),
            "--port-base",
            str(port_base),
            "--ready-file",
            str(self.ready_file),
        ]
        with self.said.open("wb") as output:
            self.process = subprocess.Popen(
                [*ESPACE, *options, *arguments],
                cwd=ROOT,
                env=clean_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def text(self) -> str:
        return self.said.read_text("utf-8")

    def wait_ready(self) -> dict[str, Any]:
        wait_until(lambda: self.ready_file.exists() or self.process.poll() is not None)
        assert self.process.poll() is None, self.text()
        return json.loads(self.ready_file.read_text("utf-8"))

    def wait_said(self, words: str) -> None:
        wait_until(lambda: words in self.text() or self.process.poll() is not None)
        assert words in self.text()

    def stop(self, how: signal.Signals = signal.SIGTERM) -> float:
        """Tell it to stop; the seconds it took."""
        began = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(how)
        self.process.wait(60)
        return time.monotonic() - began

    def processes(self) -> list[psutil.Process]:
        """Everything that works for this data folder, the supervisor apart."""
        return [
            found
            for found in psutil.process_iter()
            if found.pid != self.process.pid and _works_for(found, self.data)
        ]

    def server(self, words: str) -> psutil.Process:
        """The process the supervisor started whose command holds `words`, once there is one that lives."""
        found: list[psutil.Process] = []

        def is_there() -> bool:
            children = psutil.Process(self.process.pid).children()
            found[:] = [child for child in children if words in _command_of(child)]
            return bool(found)

        wait_until(is_there)
        return found[0]


def wait_until(holds: Callable[[], Any], within: float = PATIENCE) -> None:
    """Wait on a condition; what fails tells which."""
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, f"{holds} did not hold within {within} s"
        time.sleep(0.05)


def has_ended(process: psutil.Process) -> bool:
    """Gone, or waiting for its parent to look: it may go between the two questions."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def answers(address: str) -> bool:
    try:
        with build_opener(ProxyHandler({})).open(f"{address}/health/ready", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


# Below the ports that the system lends to outgoing connections, which come and go.
BASES = range(10_000, 32_000, 50)
_next = itertools.count(os.getpid() * 7)


def free_port_base() -> int:
    """A base whose ports are all free; each caller gets another."""
    for _ in BASES:
        base = BASES[next(_next) % len(BASES)]
        if not any(
            port_is_taken(base + offset) for offset in (0, 1, 2, 3, 4, 10, 11, 12, 13, 14, 22, 23, 25, 32)
        ):
            return base
    raise AssertionError("no free ports on this machine")


def _command_of(process: psutil.Process) -> str:
    """Its command line; nothing for one that has just died, whose number is still there."""
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return ""


def _works_for(process: psutil.Process, data: Path) -> bool:
    try:
        told = " ".join(process.cmdline()) + process.environ().get("ESPACE_CONFIG", "")
        return str(data) in told or process.cwd().startswith(str(data))
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return False

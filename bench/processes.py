"""Which core a process runs on, and what its tree has used of it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

_CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = _CORES[0], _CORES[-1]


@contextmanager
def on_server_core() -> Iterator[None]:
    """What is started inside the block inherits the server's core; this process goes back to its own."""
    os.sched_setaffinity(0, {SERVER_CORE})
    try:
        yield
    finally:
        os.sched_setaffinity(0, {LOAD_CORE})


def cpu_us(pid: int) -> float:
    """Time on a core of every thread of the process tree, in microseconds.

    From the scheduler's own nanoseconds (`/proc/<pid>/task/*/schedstat`): the ticks of `/proc/<pid>/stat` are
    10 ms, a twentieth of a short window. What ends between two readings is lost: pools here keep their threads.
    """
    return sum(_on_core_ns(process) for process in _tree(pid)) / 1000


def _on_core_ns(pid: int) -> int:
    total = 0
    for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with suppress(OSError):
            total += int(thread.read_text().split()[0])
    return total


def _tree(pid: int) -> list[int]:
    return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]


def resident_mb(pid: int) -> float:
    """Proportional set size of the tree: pages that several processes share are counted once."""
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return sum(process.memory_full_info().pss for process in processes) / 1024 / 1024

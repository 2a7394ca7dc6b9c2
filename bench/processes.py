"""Which core a process runs on, and what its tree has used of it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

TICK_US = 1_000_000 / os.sysconf("SC_CLK_TCK")

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
    """User and system time of the process tree, ended children included, in microseconds (10 ms ticks)."""
    total = 0.0
    for process in [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]:
        try:
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(int(field) for field in fields[11:15])
    return total * TICK_US


def resident_mb(pid: int) -> float:
    """Proportional set size of the tree: pages that several processes share are counted once."""
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return sum(process.memory_full_info().pss for process in processes) / 1024 / 1024

"""What identity takes when it does little: cold start, memory after the load, CPU of an idle minute's part."""

import asyncio
import statistics
from typing import Any

from bench.espace_installation import Installation, Served
from bench.processes import cpu_us, resident_mb

IDLE_SECONDS = 20
COLD_STARTS = 5


async def footprint(inst: Installation, served: Served, *, quick: bool) -> dict[str, Any]:
    """Taken last, once the load has passed over `served`.

    A start is timed from the spawn of `espace serve identity` to its first 200 at /health/ready, on the server's
    core, PostgreSQL and NATS up, the files warm.
    """
    memory = {
        "identity": round(resident_mb(served.pid), 1),
        "postgres": round(resident_mb(inst.postgres_pid), 1),
    }
    seconds = IDLE_SECONDS / 4 if quick else IDLE_SECONDS
    before = cpu_us(served.pid)
    await asyncio.sleep(seconds)
    idle = (cpu_us(served.pid) - before) / 1e6 / seconds
    starts: list[float] = []
    for place in range(2 if quick else COLD_STARTS):
        async with inst.beside(20 + place).identity() as another:
            starts.append(round(another.ready_s, 2))
    return {
        "memory_after_load_mb": memory,
        "idle_share_of_a_core": round(idle, 5),
        "idle_seconds": seconds,
        "ready_s": {"median": statistics.median(starts), "low": min(starts), "high": max(starts)},
    }

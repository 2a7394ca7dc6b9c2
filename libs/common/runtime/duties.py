"""A worker's duties, side by side: one that fails is begun again, and takes none of the others along.

The one rule for every duty of every worker. What a duty catches by itself, it catches to do better than this:
to go on with the next row, or to wait less.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import structlog

from libs.common.runtime.telemetry import counter

log = structlog.get_logger()

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0
"""Seconds before a duty that ended is begun again; doubled each time it ends young."""
HEALTHY_AFTER: Final = 60.0
"""A duty that lasted this long is forgiven its earlier ends."""

BEGUN_AGAIN = counter("duties_begun_again", "Duties of the worker that ended and were begun again.", "duty")

Duty = Callable[[], Awaitable[None]]
"""Runs until the worker's `stop`; made anew at each beginning."""


async def keep_duties(
    duties: Mapping[str, Duty], stop: asyncio.Event, *, first_pause: float = FIRST_PAUSE
) -> None:
    """Keep each of `duties` (by the name the log gives it) running until `stop`, whatever befalls it or another."""
    async with asyncio.TaskGroup() as together:
        for name, duty in duties.items():
            together.create_task(_keep(name, duty, stop, first_pause))


async def _keep(name: str, duty: Duty, stop: asyncio.Event, first_pause: float) -> None:
    pause = first_pause
    while not stop.is_set():
        began = time.monotonic()
        try:
            await duty()
        except Exception:
            log.exception("duty.failed", duty=name)
        else:
            if stop.is_set():
                return
            # To end by oneself is to fail: nobody does the work any more.
            log.error("duty.ended_by_itself", duty=name)
        BEGUN_AGAIN.labels(name).inc()
        if time.monotonic() - began >= HEALTHY_AFTER:
            pause = first_pause
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await stop.wait()
        pause = min(pause * 2, LONGEST_PAUSE)

"""Answers that take the same time whatever they found, where the finding is a secret."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

COARSE = 0.002
"""Seconds by which a timer of the event loop may be late: it counts whole milliseconds from when it was set."""


@asynccontextmanager
async def even_pace(seconds: float) -> AsyncGenerator[None, None]:
    """Leave `seconds` after entering, whether the work ended well or not.

    `seconds` is well above the longest of the ways the work may go. Waiting holds neither a processor nor a
    connection, if the work has given its own back.
    """
    due = time.monotonic() + seconds
    try:
        yield
    finally:
        # A timer is set when the work ends: alone, it would end that very fraction of a millisecond later, and the
        # fraction is the work's own.
        await asyncio.sleep(due - time.monotonic() - COARSE)
        while time.monotonic() < due:  # noqa: ASYNC110 - what is waited for is the time
            await asyncio.sleep(0)

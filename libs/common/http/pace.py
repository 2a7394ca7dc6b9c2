"""Answers whose time says nothing of what was found, where the finding is a secret."""

import asyncio
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

SPREAD = 0.2
"""Share of the pace that chance adds."""


@asynccontextmanager
async def even_pace(seconds: float) -> AsyncGenerator[None, None]:
    """Leave `seconds` after entering and, by chance, up to a fifth later, whether the work ended well or not.

    `seconds` is well above the longest of the ways the work may go. Waiting holds neither a processor nor a
    connection, if the work has given its own back.

    Chance is not there to hide the work, which the pace does: a loop's timers count whole milliseconds from the
    instant they are set, which is when the work ended. Without it, the fraction of a millisecond in an answer's
    time would be the work's own.
    """
    loop = asyncio.get_running_loop()
    due = loop.time() + seconds * (1 + SPREAD * secrets.randbelow(1 << 32) / (1 << 32))
    try:
        yield
    finally:
        await asyncio.sleep(due - loop.time())

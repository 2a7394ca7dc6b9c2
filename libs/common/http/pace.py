"""Answers that take the same time whatever they found, where the finding is a secret."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


@asynccontextmanager
async def even_pace(seconds: float) -> AsyncGenerator[None, None]:
    """Leave no sooner than `seconds` after entering, whether the work ended well or not.

    `seconds` is well above the longest of the ways the work may go. Waiting holds neither
    a processor nor a connection, if the work has given its own back.
    """
    loop = asyncio.get_running_loop()
    due = loop.time() + seconds
    try:
        yield
    finally:
        await asyncio.sleep(due - loop.time())

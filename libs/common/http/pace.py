"""Answers whose time says nothing of what was found, where the finding is a secret.

Whoever is done waits for a beat that was begun before the work. A timer counts whole milliseconds from when it is set,
and those that end together ring in the order in which they were set: set after the work, it would tell how long the
work took.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


@asynccontextmanager
async def even_pace(seconds: float) -> AsyncGenerator[None, None]:
    """Leave at a beat, whether the work ended well or not; at once when it is cancelled.

    `seconds`, from one beat to the next, is well above the longest of the ways that the work usually goes: then all
    leave at the first. Waiting holds neither a processor nor a connection, if the work has given its own back.
    """
    async with even_refusal(seconds) as beat:
        yield
        await beat.next()


@asynccontextmanager
async def even_refusal(seconds: float) -> AsyncGenerator["Beat", None]:
    """Leave at a beat when the work raises, at once when it ends well."""
    beat = Beat(seconds)
    try:
        yield beat
    except Exception:
        await beat.next()
        raise
    finally:
        beat.end()


class Beat:
    """One every `seconds`, from now on."""

    def __init__(self, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._seconds = seconds
        self._awaited: asyncio.Future[None] | None = None
        self._due = self._loop.time() + seconds
        self._timer = self._loop.call_at(self._due, self._ring)

    async def next(self) -> None:
        """Return at the next one."""
        self._awaited = self._loop.create_future()
        await self._awaited

    def end(self) -> None:
        self._timer.cancel()

    def _ring(self) -> None:
        if self._awaited is not None and not self._awaited.done():
            self._awaited.set_result(None)
        self._due += self._seconds
        self._timer = self._loop.call_at(self._due, self._ring)

"""Where papers are rendered and sealed: a few threads, a bounded queue, never the loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from libs.common.refusals import Unavailable

T = TypeVar("T")


class PressBusy(Unavailable):
    """Too many papers are waiting to be printed: come back in a moment."""


class Press:
    """Two workers and at most `waiting` papers in line: an avalanche is refused, not hoarded."""

    def __init__(self, *, workers: int = 2, waiting: int = 64) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="press")
        self._places = waiting

    async def print(self, work: Callable[[], T]) -> T:
        """Run `work` on a worker and give its answer. Raises `PressBusy`."""
        if self._places == 0:
            raise PressBusy
        self._places -= 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._places += 1

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

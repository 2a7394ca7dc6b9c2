"""Rows that have served are deleted in bounded batches, each its own transaction.

A backlog of months then neither holds its locks, nor fills the log at once, nor
outlasts a statement's time; a batch that fails leaves those before it done.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final

from libs.common.database.pool import Database
from libs.common.database.transaction import Tx

BATCH: Final = 5_000
"""Rows deleted by one transaction."""

Forget = Callable[[Tx, datetime], Awaitable[int]]
"""Delete at most `BATCH` rows that are over since then; how many went."""


async def forget_all(relay: Database, forget: Forget, before: datetime) -> int:
    """Batch after batch until nothing is left; how many rows went. `relay` sees all caisses."""
    forgotten, gone = 0, BATCH
    while gone >= BATCH:
        async with relay.across_caisses() as tx:
            gone = await forget(tx, before)
        forgotten += gone
    return forgotten

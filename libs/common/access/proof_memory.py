"""Each DPoP proof works once: the memory of those seen, shared by every process and kept through a crash.

A proof's own `iat` chooses its slot, so a replay looks where the first use was
noted. Four slots of five minutes take turns; the one that no acceptable proof
can name is emptied whole, and the table's size follows the load, never the years.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Protocol

import structlog

from libs.common.access import store
from libs.common.access.dpop import DpopProof
from libs.common.access.refusals import InvalidProof
from libs.common.database.pool import Database
from libs.common.database.transaction import DatabaseUnavailable, Tx
from libs.common.values.caisse_slug import CaisseSlug

log = structlog.get_logger()

SLOT_SECONDS: Final = 300
"""Far above the minute and a half during which a proof may be presented."""


class ReplayMemory(Protocol):
    """Where proofs seen are noted."""

    async def remember(self, caisse: CaisseSlug, proof: DpopProof) -> None:
        """Note `proof`. Raises `InvalidProof` when it was seen before."""
        ...


def slot_of(issued_at: datetime) -> int:
    return int(issued_at.timestamp()) // SLOT_SECONDS % store.SLOTS


async def remember(tx: Tx, proof: DpopProof) -> bool:
    """For a use case that notes the proof in its own transaction: False when it was seen before."""
    return await store.remember_proof(tx, slot_of(proof.issued_at), proof.memory_key)


class ProofsInPostgres:
    """The memory of one service's processes, in its schema (`dpop_proof`)."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def remember(self, caisse: CaisseSlug, proof: DpopProof) -> None:
        async with self._db.transaction(caisse) as tx:
            if not await remember(tx, proof):
                raise InvalidProof("replayed")


async def forget_old_proofs(tx: Tx, now: datetime) -> None:
    """Empty the slot of ten minutes ahead, which is the one of ten minutes ago."""
    idle = (slot_of(now) + 2) % store.SLOTS
    if not await store.slot_is_empty(tx, idle):
        await store.empty_slot(tx, idle)


async def forget_old_proofs_for_ever(
    db: Database,
    stop: asyncio.Event,
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    every_seconds: float = 60,
) -> None:
    """The sweeper of `espace work`: `db` is the relay role. Several at once do no harm."""
    while not stop.is_set():
        try:
            async with db.across_caisses() as tx:
                await forget_old_proofs(tx, clock())
        except DatabaseUnavailable:
            log.warning("dpop.sweep_postponed")
        try:
            async with asyncio.timeout(every_seconds):
                await stop.wait()
        except TimeoutError:
            continue

"""Finish what a dead process left half-way: a number taken becomes a sealed paper."""

from datetime import datetime, timedelta
from typing import Final

import structlog

from libs.common.database.pool import Database
from libs.common.refusals import DomainError
from services.documents.attestations import store
from services.documents.attestations.issue import Workshop, finish_attestation
from services.documents.attestations.store import HalfWay

log = structlog.get_logger()

PATIENCE: Final = timedelta(seconds=30)
"""Younger rows belong to a request that is still at work."""

AT_ONCE: Final = 50


async def sweep_half_way(shop: Workshop, relay: Database, *, now: datetime, at_once: int = AT_ONCE) -> int:
    """Finish rows reserved over 30 seconds ago; how many were. `relay` sees all caisses.

    Every row has its turn in each round, `at_once` at a time: those that cannot be finished
    now are left for the next and hold up no other.
    """
    finished = 0
    last: HalfWay | None = None
    while True:
        async with relay.across_caisses() as tx:
            waiting = await store.half_way(tx, now - PATIENCE, last, at_once)
        for row in waiting:
            finished += await _finished(shop, row, now)
            last = row
        if len(waiting) < at_once:
            return finished


async def _finished(shop: Workshop, row: HalfWay, now: datetime) -> bool:
    known = {"caisse": row.caisse, "attestation_id": str(row.id)}
    try:
        await finish_attestation(shop, row.caisse, row.id, now=now)
    except DomainError as error:
        log.warning("attestation.still_half_way", **known, reason=type(error).__name__)
        return False
    except Exception:
        # A row that does not open, or a defect of ours: it must not stop the other rows, nor the relay beside us.
        log.exception("attestation.cannot_finish", **known)
        return False
    log.info("attestation.finished_by_sweeper", **known)
    return True

"""Finish what a dead process left half-way: a number taken becomes a sealed paper."""

from datetime import datetime, timedelta
from typing import Final

import structlog

from libs.common.database.pool import Database
from libs.common.refusals import DomainError
from services.documents.attestations import store
from services.documents.attestations.issue import Workshop, finish_attestation

log = structlog.get_logger()

PATIENCE: Final = timedelta(seconds=30)
"""Younger rows belong to a request that is still at work."""

AT_ONCE: Final = 50


async def sweep_half_way(shop: Workshop, relay: Database, *, now: datetime) -> int:
    """Finish rows reserved over 30 seconds ago; how many were. `relay` sees all caisses.

    One that cannot be finished now is left for the next round and holds up no other.
    """
    async with relay.across_caisses() as tx:
        waiting = await store.half_way(tx, now - PATIENCE, AT_ONCE)
    finished = 0
    for caisse, attestation_id in waiting:
        try:
            await finish_attestation(shop, caisse, attestation_id, now=now)
        except DomainError as error:
            log.warning(
                "attestation.still_half_way",
                caisse=caisse,
                attestation_id=str(attestation_id),
                reason=type(error).__name__,
            )
            continue
        except Exception:
            # A row that does not open, or a defect of ours: it must not stop the other rows, nor the relay beside us.
            log.exception("attestation.cannot_finish", caisse=caisse, attestation_id=str(attestation_id))
            continue
        finished += 1
        log.info("attestation.finished_by_sweeper", caisse=caisse, attestation_id=str(attestation_id))
    return finished

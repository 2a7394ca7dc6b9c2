"""What delegation does by itself: keep the ledger, and write down what the clocks have ended."""

import asyncio
from collections.abc import Callable
from datetime import datetime

import structlog

from libs.common.bus.connection import Bus
from libs.common.bus.consumer import consume
from libs.common.bus.streams import stream_of
from libs.common.database.pool import Database
from libs.common.runtime.duties import keep_duties
from libs.common.values.caisse_slug import CaisseSlug
from services.identity.caisses import store as caisses
from services.identity.delegation.clocks import AT_ONCE, settle
from services.identity.delegation.ledger import DURABLE, DURABLE_OF_ADHERENT, OF_ADHERENT, OF_DOCUMENTS
from services.identity.delegation.mandate import MandateChanged

log = structlog.get_logger()

SETTLE_EVERY = 60.0
"""Seconds; no right depends on it, since every use judges the clocks itself."""


async def delegation_duties(
    bus: Bus, db: Database, stop: asyncio.Event, clock: Callable[[], datetime]
) -> None:
    """Until `stop`. `db` is the app role: both work caisse by caisse, behind row-level security."""
    documents, adherent = stream_of("documents"), stream_of("adherent")
    await keep_duties(
        {
            "ledger_documents": lambda: consume(bus, db, documents, DURABLE, OF_DOCUMENTS, stop=stop),
            "ledger_adherent": lambda: consume(
                bus, db, adherent, DURABLE_OF_ADHERENT, OF_ADHERENT, stop=stop
            ),
            "settle": lambda: settle_for_ever(db, stop, clock),
        },
        stop,
    )


async def settle_for_ever(db: Database, stop: asyncio.Event, clock: Callable[[], datetime]) -> None:
    """A round each minute; a round that fails is tried at the next."""
    while not stop.is_set():
        try:
            await settle_everywhere(db, clock())
        except Exception:
            log.exception("delegation.settle_failed")
        try:
            await asyncio.wait_for(stop.wait(), SETTLE_EVERY)
        except TimeoutError:
            continue


async def settle_everywhere(db: Database, now: datetime) -> int:
    """Expire and end what is overdue in every caisse, in small transactions; how many.

    A caisse where that fails is tried at the next round, and holds up no other.
    """
    async with db.across_caisses() as tx:
        every = await caisses.every(tx)
    settled = 0
    for caisse in every:
        try:
            settled += await _settle(db, caisse.slug, now)
        except Exception:
            log.exception("delegation.settle_failed", caisse=caisse.slug)
    return settled


async def _settle(db: Database, caisse: CaisseSlug, now: datetime) -> int:
    settled = 0
    while True:
        try:
            async with db.transaction(caisse) as tx:
                done = len(await settle(tx, now))
        except MandateChanged:
            return settled  # somebody acted on one of them: the next round sees it as it is
        settled += done
        if done < AT_ONCE:
            return settled

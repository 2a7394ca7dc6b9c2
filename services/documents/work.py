"""Documents' background work: the relay, the reactions to identity's facts, the sweeps."""

import asyncio
from contextlib import AsyncExitStack

import structlog

from libs.common.access.proof_memory import forget_old_proofs_for_ever
from libs.common.bus.connection import Bus
from libs.common.bus.consumer import Reaction, consume
from libs.common.bus.relay import relay
from libs.common.database.pool import Database
from libs.common.database.transaction import Tx
from libs.common.events.envelope import Event
from libs.common.events.identity import CaisseAdded
from libs.common.http.application import utc_now
from libs.common.keys.root_key import open_key_encryption
from libs.common.refusals import DomainError
from libs.common.runtime.duties import keep_duties
from libs.common.runtime.settings import Settings
from services.documents.app import open_workshop
from services.documents.attestations.issue import Workshop
from services.documents.attestations.sweep import sweep_half_way
from services.documents.caisses.hear_of_caisse import hear_of_caisse

log = structlog.get_logger()

CAISSES = "documents-caisses"
SWEEP_SECONDS = 10.0


async def work(settings: Settings, stop: asyncio.Event) -> None:
    """Until `stop`. NATS away is waited for. Raises `DatabaseUnavailable` when PostgreSQL is not there at first."""
    keys = open_key_encryption(settings)

    async def on_caisse(tx: Tx, told: CaisseAdded) -> None:
        await hear_of_caisse(tx, told, keys, settings.documents.base)

    reactions: dict[type[Event], Reaction] = {CaisseAdded: on_caisse}
    async with AsyncExitStack() as opened:
        sweeps = await Database.open(settings.documents.relay_dsn, name="documents-relay", max_size=6)
        opened.push_async_callback(sweeps.close)
        shop = await opened.enter_async_context(open_workshop(settings, keys))
        bus = Bus.of(settings, "documents", name="documents-work")
        opened.push_async_callback(bus.close)
        bus.start()
        await keep_duties(
            {
                "relay": lambda: relay(bus, sweeps, "documents", stop),
                "caisses": lambda: consume(bus, shop.db, "IDENTITY", CAISSES, reactions, stop=stop),
                "proofs": lambda: forget_old_proofs_for_ever(sweeps, stop),
                "sweep": lambda: sweep_for_ever(shop, sweeps, stop),
            },
            stop,
        )


async def sweep_for_ever(shop: Workshop, sweeps: Database, stop: asyncio.Event) -> None:
    """Finish half-way attestations every ten seconds; a round that fails waits for the next."""
    while not stop.is_set():
        try:
            await sweep_half_way(shop, sweeps, now=utc_now())
        except DomainError as error:
            log.info("attestation.sweep_postponed", reason=type(error).__name__)
        try:
            async with asyncio.timeout(SWEEP_SECONDS):
                await stop.wait()
        except TimeoutError:
            continue

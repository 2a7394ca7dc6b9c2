"""Documents' background work: the relay, the reactions to identity's facts, the sweeps."""

import asyncio

import structlog

from libs.common.access.proof_memory import forget_old_proofs_for_ever
from libs.common.bus.connection import Bus
from libs.common.bus.consumer import consume
from libs.common.bus.relay import relay
from libs.common.database.pool import Database
from libs.common.database.transaction import Tx
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
    """Until `stop`. PostgreSQL or NATS away is waited for."""
    keys = open_key_encryption(settings)
    bus = Bus.of(settings, "documents", name="documents-work")
    bus.start()
    sweeps = await Database.open(settings.documents.relay_dsn, name="documents-relay", max_size=6)

    async def on_caisse(tx: Tx, told: CaisseAdded) -> None:
        await hear_of_caisse(tx, told, keys, settings.documents.base)

    try:
        async with open_workshop(settings, keys) as shop:
            await keep_duties(
                {
                    "relay": lambda: relay(bus, sweeps, "documents", stop),
                    "caisses": lambda: consume(
                        bus, shop.db, "IDENTITY", CAISSES, {CaisseAdded: on_caisse}, stop=stop
                    ),
                    "proofs": lambda: forget_old_proofs_for_ever(sweeps, stop),
                    "sweep": lambda: sweep_for_ever(shop, sweeps, stop),
                },
                stop,
            )
    finally:
        await bus.close()
        await sweeps.close()


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

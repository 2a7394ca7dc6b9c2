"""Adherent's background work: the relay, the reactions to identity's facts, the sweeps."""

import asyncio

from libs.common.access.proof_memory import forget_old_proofs_for_ever
from libs.common.bus.connection import Bus
from libs.common.bus.consumer import Reaction, consume
from libs.common.bus.relay import relay
from libs.common.database.pool import Database
from libs.common.events.envelope import Event
from libs.common.events.identity import AdherentImported
from libs.common.runtime.duties import keep_duties
from libs.common.runtime.settings import Settings
from services.adherent.member_file.hear_of_member import hear_of_member

MEMBER_FILE = "adherent-member-file"


async def work(settings: Settings, stop: asyncio.Event) -> None:
    """Until `stop`. PostgreSQL or NATS away is waited for."""
    bus = Bus.of(settings, "adherent", name="adherent-work")
    bus.start()
    db = await Database.open(settings.adherent.dsn, name="adherent-work", max_size=4)
    sweeps = await Database.open(settings.adherent.relay_dsn, name="adherent-relay", max_size=6)
    reactions: dict[type[Event], Reaction] = {AdherentImported: hear_of_member}
    try:
        await keep_duties(
            {
                "relay": lambda: relay(bus, sweeps, "adherent", stop),
                "member_file": lambda: consume(bus, db, "IDENTITY", MEMBER_FILE, reactions, stop=stop),
                "proofs": lambda: forget_old_proofs_for_ever(sweeps, stop),
            },
            stop,
        )
    finally:
        await bus.close()
        await sweeps.close()
        await db.close()

"""Adherent's background work: the relay, the reactions to identity's facts, the sweeps."""

import asyncio
from contextlib import AsyncExitStack

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
    """Until `stop`. NATS away is waited for. Raises `DatabaseUnavailable` when PostgreSQL is not there at first."""
    reactions: dict[type[Event], Reaction] = {AdherentImported: hear_of_member}
    async with AsyncExitStack() as opened:
        db = await Database.open(settings.adherent.dsn, name="adherent-work", max_size=4)
        opened.push_async_callback(db.close)
        sweeps = await Database.open(settings.adherent.relay_dsn, name="adherent-relay", max_size=6)
        opened.push_async_callback(sweeps.close)
        bus = Bus.of(settings, "adherent", name="adherent-work")
        opened.push_async_callback(bus.close)
        bus.start()
        await keep_duties(
            {
                "relay": lambda: relay(bus, sweeps, "adherent", stop),
                "member_file": lambda: consume(bus, db, "IDENTITY", MEMBER_FILE, reactions, stop=stop),
                "proofs": lambda: forget_old_proofs_for_ever(sweeps, stop),
            },
            stop,
        )

"""What identity tells at once: that something was revoked. Nothing else is done in this process.

A mail takes some 4 ms to write; a hundred of them held up a revocation for a quarter of a second.
"""

import asyncio

from libs.common.bus.connection import Bus
from libs.common.bus.relay import relay_revocations
from libs.common.database.pool import Database
from libs.common.runtime.duties import keep_duties
from libs.common.runtime.settings import Settings


async def work(settings: Settings, stop: asyncio.Event) -> None:
    """Until `stop`. PostgreSQL or NATS away is waited for."""
    bus = Bus.of(settings, "identity", name="identity-urgent")
    bus.start()
    db = await Database.open(settings.identity.relay_dsn, name="identity-urgent", max_size=3)
    try:
        await keep_duties({"revocations": lambda: relay_revocations(bus, db, stop)}, stop)
    finally:
        await bus.close()
        await db.close()

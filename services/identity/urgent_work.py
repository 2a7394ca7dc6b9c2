"""What identity tells at once: that something was revoked. Nothing else is done in this process.

A mail takes some 4 ms to write; a hundred of them held up a revocation for a quarter of a second.
"""

import asyncio
from contextlib import AsyncExitStack

from libs.common.bus.connection import Bus
from libs.common.bus.relay import relay_revocations
from libs.common.database.pool import Database
from libs.common.runtime.duties import keep_duties
from libs.common.runtime.settings import Settings


async def work(settings: Settings, stop: asyncio.Event) -> None:
    """Until `stop`. NATS away is waited for. Raises `DatabaseUnavailable` when PostgreSQL is not there at first."""
    async with AsyncExitStack() as opened:
        db = await Database.open(settings.identity.relay_dsn, name="identity-urgent", max_size=4)
        opened.push_async_callback(db.close)
        bus = Bus.of(settings, "identity", name="identity-urgent")
        opened.push_async_callback(bus.close)
        bus.start()
        await keep_duties({"revocations": lambda: relay_revocations(bus, db, "identity", stop)}, stop)

"""Both relays of identity, as its two working processes run them."""

import asyncio

from libs.common.bus.connection import Bus
from libs.common.bus.relay import ROUND_SECONDS, relay, relay_revocations
from libs.common.database.pool import Database


async def identity_relays(
    bus: Bus, db: Database, stop: asyncio.Event, *, round_seconds: float = ROUND_SECONDS
) -> None:
    """Until `stop`."""
    await asyncio.gather(
        relay(bus, db, "identity", stop, round_seconds=round_seconds),
        relay_revocations(bus, db, stop, round_seconds=round_seconds),
    )

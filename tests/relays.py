"""The relays of identity, as its two working processes run them, and the streams that they fill."""

import asyncio

from libs.common.bus.connection import Bus
from libs.common.bus.relay import ROUND_SECONDS, relay, relay_revocations
from libs.common.bus.streams import keep_stream, streams_of
from libs.common.database.pool import Database


async def keep_streams(bus: Bus, db: Database, service: str) -> None:
    """All the streams of a service, once."""
    for stream in streams_of(service):
        await keep_stream(bus, db, stream)


async def identity_relays(
    bus: Bus, db: Database, stop: asyncio.Event, *, round_seconds: float = ROUND_SECONDS
) -> None:
    """Until `stop`."""
    await asyncio.gather(
        relay(bus, db, "identity", stop, round_seconds=round_seconds),
        relay_revocations(bus, db, "identity", stop, round_seconds=round_seconds),
    )

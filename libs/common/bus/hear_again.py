"""Facts that were laid aside are heard again, once their cause is mended.

Their consumer is forgotten by the broker: its worker makes it anew, and hears everything that the stream keeps. The
inbox knows what was digested; what was laid aside left no trace there.
"""

from nats.js.errors import NotFoundError

from libs.common.bus.connection import OUTAGE, Bus, BusUnavailable
from libs.common.bus.streams import stream_of
from libs.common.database import dead_letters
from libs.common.database.dead_letters import LaidAside
from libs.common.database.outbox import KEPT
from libs.common.database.pool import Database


async def hear_again(bus: Bus, relay_db: Database) -> list[LaidAside]:
    """Those that will be heard again. One older than the streams keep stays aside. Raises `BusUnavailable`."""
    async with relay_db.across_caisses() as tx:
        now = await tx.fetchval("SELECT now()")
        aside = [one for one in await dead_letters.every(tx) if one.at > now - KEPT]
    for stream, consumer in sorted({(stream_of(one.subject.split(".")[0]), one.consumer) for one in aside}):
        try:
            await bus.jetstream.delete_consumer(stream, consumer)
        except NotFoundError:
            continue
        except OUTAGE as error:
            raise BusUnavailable(stream) from error
    # After the broker forgot: ended between the two, the command is typed again and nothing was lost sight of.
    async with relay_db.across_caisses() as tx:
        for one in aside:
            await dead_letters.take_back(tx, one)
    return aside

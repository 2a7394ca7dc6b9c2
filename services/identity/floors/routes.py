"""What the services ask of identity about revocations, beside the stream."""

from litestar import get
from litestar.di import NamedDependency

from libs.common.access.issuer_clock import CLOCK_PATH, ClockTold
from libs.common.database import outbox
from libs.common.database.pool import Database


@get(CLOCK_PATH, access="anyone", include_in_schema=False, response_headers={"Cache-Control": "no-store"})
async def tell_the_time(db: NamedDependency[Database]) -> ClockTold:
    """The clock that dates heartbeats and floors, read while the caller waits (docs/explanation/delegation.md)."""
    async with db.across_caisses() as tx:
        return ClockTold(await outbox.clock(tx))


ROUTES = [tell_the_time]

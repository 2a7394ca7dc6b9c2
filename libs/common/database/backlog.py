"""What waits in one service's database, or was laid aside there, in every caisse: asked by `espace doctor`."""

from datetime import timedelta
from typing import NamedTuple

import asyncpg


class Backlog(NamedTuple):
    """Facts not yet acknowledged by NATS, the age of the oldest, and facts that a consumer could not digest."""

    unsent: int
    oldest: timedelta
    laid_aside: int


async def backlog(relay_dsn: str) -> Backlog:
    """Read under the relay's role, the one that sees every caisse."""
    connection = await asyncpg.connect(relay_dsn)
    try:
        row = await connection.fetchrow(
            """
            SELECT count(*),
                   coalesce(clock_timestamp() - min(recorded_at), interval '0'),
                   (SELECT count(*) FROM dead_letter)
              FROM outbox
             WHERE sent_at IS NULL
            """
        )
    finally:
        await connection.close()
    assert row is not None
    return Backlog(*row)

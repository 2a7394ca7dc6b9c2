"""The SQL of floors: platform-wide, one row a subject."""

from datetime import datetime

from libs.common.database.forgetting import BATCH
from libs.common.database.transaction import Tx


async def raise_floor(tx: Tx, name: str, now: datetime) -> datetime:
    """The instant up to which tokens are dead: the database's, or `now` where that is later.

    Tokens are dated by the database's clock at the latest, whatever the clocks of their processes.
    """
    return await tx.fetchval(
        """
        INSERT INTO revocation_floor AS known (name, not_before)
        VALUES ($1, greatest($2, clock_timestamp()))
        ON CONFLICT (name) DO UPDATE
           SET not_before = greatest(known.not_before, excluded.not_before), raised_at = excluded.raised_at
        RETURNING not_before
        """,
        name, now,
    )  # fmt: skip


async def forget(tx: Tx, before: datetime) -> int:
    """Floors under which no token can live any more, one bounded batch."""
    return await tx.execute(
        """
        DELETE FROM revocation_floor WHERE name IN (
            SELECT name FROM revocation_floor WHERE raised_at < $1 LIMIT $2)
        """,
        before, BATCH,
    )  # fmt: skip

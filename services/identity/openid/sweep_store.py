"""Forgetting what has served, in SQL; the relay role's, across caisses.

Clocks are judged at use: a row that outlived its time gives nothing, swept or not.
"""

from datetime import datetime

from libs.common.database.transaction import Tx
from services.identity.openid.buckets import Bucketed

BATCH = 5_000
"""Rows deleted by one transaction."""


async def empty_at_rest(tx: Tx, table: Bucketed, bucket: int) -> bool:
    """Forget a whole bucket at once; False when it held nothing."""
    return await tx.fetchval("SELECT empty_openid_bucket($1, $2)", table, bucket)


async def forget_refresh_tokens(tx: Tx, now: datetime) -> int:
    """One bounded batch: a long backlog neither holds its locks nor fills the log at once."""
    return await tx.execute(
        """
        DELETE FROM refresh_token WHERE (caisse, token_hash) IN (
            SELECT caisse, token_hash FROM refresh_token WHERE expires_at < $1 ORDER BY expires_at LIMIT $2
        )
        """,
        now, BATCH,
    )  # fmt: skip


async def forget_grants(tx: Tx, expired_before: datetime) -> int:
    """One bounded batch."""
    return await tx.execute(
        """
        DELETE FROM authorization_grant WHERE (caisse, id) IN (
            SELECT caisse, id FROM authorization_grant WHERE expires_at < $1 ORDER BY expires_at LIMIT $2
        )
        """,
        expired_before, BATCH,
    )  # fmt: skip


async def forget_initial_tokens(tx: Tx, now: datetime) -> int:
    return await tx.execute("DELETE FROM initial_access_token WHERE expires_at < $1", now)


EMPTY_BUCKET = (
    "TRUNCATE seen_jti_0",
    "TRUNCATE seen_jti_1",
    "TRUNCATE seen_jti_2",
    "TRUNCATE seen_jti_3",
)


async def empty_bucket(tx: Tx, bucket: int) -> None:
    """Forget a quarter of an hour of assertions at once: no dead rows, no work for the vacuum."""
    await tx.execute(EMPTY_BUCKET[bucket])

"""Forgetting what has served, in SQL; the relay role's, across caisses.

Clocks are judged at use: a row that outlived its time gives nothing, swept or not.
"""

from datetime import datetime
from typing import Literal

from libs.common.database.transaction import Tx
from services.identity.openid.buckets import Bucketed


async def empty_at_rest(tx: Tx, table: Bucketed, bucket: int) -> bool:
    """Forget a whole bucket at once; False when it held nothing."""
    return await tx.fetchval("SELECT empty_openid_bucket($1, $2)", table, bucket)


async def empty_former(
    tx: Tx, table: Literal["authorization_grant", "refresh_token"], before: datetime
) -> bool:
    """Forget what the version before wrote, once all of it has been over since `before`; False until then."""
    return await tx.fetchval("SELECT empty_former_openid_bucket($1, $2)", table, before)


async def forget_initial_tokens(tx: Tx, now: datetime) -> int:
    return await tx.execute("DELETE FROM initial_access_token WHERE expires_at < $1", now)


EMPTY_SEEN_JTI = (
    "TRUNCATE seen_jti_0",
    "TRUNCATE seen_jti_1",
    "TRUNCATE seen_jti_2",
    "TRUNCATE seen_jti_3",
)


async def empty_seen_jti(tx: Tx, bucket: int) -> None:
    """Forget a quarter of an hour of assertions at once: no dead rows, no work for the vacuum."""
    await tx.execute(EMPTY_SEEN_JTI[bucket])

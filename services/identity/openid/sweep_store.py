"""Forgetting what has served, in SQL; the relay role's, across caisses.

Clocks are judged at use: a row that outlived its time gives nothing, swept or not.
"""

from datetime import datetime

from libs.common.database.transaction import Tx


async def forget_pushed_requests(tx: Tx, now: datetime) -> int:
    return await tx.execute("DELETE FROM pushed_request WHERE expires_at < $1", now)


async def forget_flows(tx: Tx, now: datetime) -> int:
    return await tx.execute("DELETE FROM authorization_flow WHERE expires_at < $1", now)


async def forget_codes(tx: Tx, expired_before: datetime) -> int:
    """A code is kept past its minute so that a replay is still recognised."""
    return await tx.execute("DELETE FROM authorization_code WHERE expires_at < $1", expired_before)


async def forget_refresh_tokens(tx: Tx, now: datetime) -> int:
    return await tx.execute("DELETE FROM refresh_token WHERE expires_at < $1", now)


async def forget_grants(tx: Tx, expired_before: datetime) -> int:
    return await tx.execute("DELETE FROM authorization_grant WHERE expires_at < $1", expired_before)


async def forget_revoked_tokens(tx: Tx, expired_before: datetime) -> int:
    return await tx.execute("DELETE FROM revoked_token WHERE expires_at < $1", expired_before)


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

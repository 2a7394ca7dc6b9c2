"""What has expired goes in passing, a little with each sign-in: nobody waits for the rows of a flood."""

from datetime import UTC, datetime, timedelta

from libs.common.database.pool import Database
from libs.common.values.caisse_slug import parse_caisse_slug
from services.portal.session import store

CAISSE = parse_caisse_slug("grand-ouest")
NOW = datetime.now(UTC)


async def begun(db: Database, many: int, expires_at: datetime) -> None:
    async with db.transaction(CAISSE) as tx:
        for number in range(many):
            state = number.to_bytes(4) + expires_at.isoformat().encode()
            await store.open_pending(tx, state, b"browser", b"sealed", "/grand-ouest", expires_at)


async def kept(db: Database) -> int:
    async with db.transaction(CAISSE) as tx:
        return await tx.fetchval("SELECT count(*) FROM pending_sign_in")


async def test_a_sign_in_removes_so_many_expired_ones_and_no_other(portal_db: Database) -> None:
    await begun(portal_db, store.IN_PASSING + 50, NOW)
    await begun(portal_db, 3, NOW + timedelta(hours=1))
    for left in (53, 3, 3):
        async with portal_db.transaction(CAISSE) as tx:
            await store.forget_expired(tx, NOW)
        assert await kept(portal_db) == left


async def test_two_at_once_do_not_wait_for_each_other(portal_db: Database) -> None:
    """An hour after a flood, every sign-in would stand behind the removal of all of it, and give up together."""
    await begun(portal_db, 10, NOW - timedelta(seconds=1))
    async with portal_db.transaction(CAISSE) as tx:
        await store.forget_expired(tx, NOW)
        # Waiting, it would end in `DatabaseUnavailable`: the rows are held until the block is over.
        async with portal_db.transaction(CAISSE) as other:
            await store.forget_expired(other, NOW)

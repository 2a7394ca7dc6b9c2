"""P10 of reliability.md: no query crosses a caisse, even one that forgets its filter."""

import asyncio

import asyncpg
import pytest

from libs.common.database import inbox
from libs.common.database.pool import Database
from libs.common.database.transaction import DatabaseUnavailable
from libs.common.runtime.settings import Settings
from libs.common.values.caisse_slug import CaisseSlug, InvalidCaisseSlug
from libs.common.values.identifiers import new_id

MEDITERRANEE = CaisseSlug("mediterranee")
GRAND_OUEST = CaisseSlug("grand-ouest")


async def heard(db: Database, caisse: CaisseSlug) -> int:
    async with db.transaction(caisse) as tx:
        return await tx.fetchval("SELECT count(*) FROM inbox")


async def test_a_query_without_filter_shows_one_caisse(identity_db: Database) -> None:
    async with identity_db.transaction(MEDITERRANEE) as tx:
        await inbox.first_time(tx, new_id(), consumer="here")

    assert await heard(identity_db, MEDITERRANEE) == 1
    assert await heard(identity_db, GRAND_OUEST) == 0


async def test_a_row_cannot_be_written_for_another_caisse(identity_db: Database) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with identity_db.transaction(MEDITERRANEE) as tx:
            await tx.execute(
                "INSERT INTO inbox (caisse, consumer, event_id) VALUES ($1, 'x', $2)", GRAND_OUEST, new_id()
            )


async def test_without_a_caisse_nothing_is_seen(identity_db: Database) -> None:
    async with identity_db.transaction(MEDITERRANEE) as tx:
        await inbox.first_time(tx, new_id(), consumer="there")
    async with identity_db.across_caisses() as tx:
        assert await tx.fetchval("SELECT count(*) FROM inbox") == 0


async def test_a_reused_connection_forgets_the_caisse(settings: Settings) -> None:
    db = await Database.open(settings.identity.dsn, name="one", max_size=1)
    try:
        async with db.transaction(MEDITERRANEE) as tx:
            await inbox.first_time(tx, new_id(), consumer="where")
        async with db.across_caisses() as tx:
            assert await tx.fetchval("SELECT current_setting('espace.caisse', true)") == ""
            assert await tx.fetchval("SELECT count(*) FROM inbox") == 0
    finally:
        await db.close()


async def test_a_forged_slug_never_becomes_sql(identity_db: Database) -> None:
    with pytest.raises(InvalidCaisseSlug):
        async with identity_db.transaction(CaisseSlug("x'; DROP TABLE inbox; --")):
            pass


async def test_the_application_role_can_neither_change_nor_delete_the_journal(identity_db: Database) -> None:
    for statement in ("UPDATE journal SET action = 'x'", "DELETE FROM journal"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with identity_db.transaction(MEDITERRANEE) as tx:
                await tx.execute(statement)


async def test_a_failing_block_leaves_nothing(identity_db: Database) -> None:
    before = await heard(identity_db, GRAND_OUEST)
    with pytest.raises(ZeroDivisionError):
        async with identity_db.transaction(GRAND_OUEST) as tx:
            await inbox.first_time(tx, new_id(), consumer="lost")
            _ = 1 // 0
    assert await heard(identity_db, GRAND_OUEST) == before


async def test_after_the_database_drops_every_connection_the_next_call_succeeds(settings: Settings) -> None:
    db = await Database.open(settings.identity.dsn, name="dropped", min_size=4, max_size=4)
    try:
        await asyncio.gather(*(heard(db, MEDITERRANEE) for _ in range(4)))
        async with db.across_caisses() as tx:
            pids = await tx.fetch("SELECT pid FROM pg_stat_activity WHERE application_name = 'dropped'")
            for row in pids:
                if row["pid"] != await tx.fetchval("SELECT pg_backend_pid()"):
                    await tx.fetchval("SELECT pg_terminate_backend($1)", row["pid"])
        assert len(pids) == 4
        assert await heard(db, MEDITERRANEE) >= 0
    finally:
        await db.close()


async def test_a_cancelled_block_rolls_back(identity_db: Database) -> None:
    before = await heard(identity_db, GRAND_OUEST)
    inside = asyncio.Event()

    async def write_and_wait() -> None:
        async with identity_db.transaction(GRAND_OUEST) as tx:
            await inbox.first_time(tx, new_id(), consumer="cancelled")
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(write_and_wait())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await heard(identity_db, GRAND_OUEST) == before


async def test_a_broken_file_inside_a_transaction_is_not_an_outage_of_the_database(
    identity_db: Database,
) -> None:
    with pytest.raises(FileNotFoundError):
        async with identity_db.transaction(GRAND_OUEST):
            raise FileNotFoundError("a use case's own trouble")


async def test_a_statement_that_does_not_end_is_an_outage(settings: Settings) -> None:
    db = await Database.open(settings.identity.dsn, name="slow", max_size=1, command_timeout=0.2)
    try:
        with pytest.raises(DatabaseUnavailable):
            async with db.transaction(GRAND_OUEST) as tx:
                await tx.fetchval("SELECT pg_sleep(5)")
        assert await heard(db, GRAND_OUEST) >= 0
    finally:
        await db.close()

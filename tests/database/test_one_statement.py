"""One statement alone: the same walls as a transaction, by one message."""

import asyncio

import asyncpg
import pytest

from libs.common.database.one_statement import one_row_seen_by_the_last, seen_by_the_last
from libs.common.database.pool import Database
from libs.common.database.transaction import DatabaseUnavailable
from libs.common.runtime.settings import Settings
from libs.common.values.caisse_slug import parse_caisse_slug

MEDITERRANEE, GRAND_OUEST = parse_caisse_slug("mediterranee"), parse_caisse_slug("grand-ouest")
COUNT = "SELECT count(*) FROM inbox"


@pytest.fixture
async def two_caisses(identity_db: Database) -> Database:
    """Three rows of one caisse, one of the other."""
    for caisse, rows in ((MEDITERRANEE, 3), (GRAND_OUEST, 1)):
        async with identity_db.transaction(caisse) as tx:
            await tx.execute("DELETE FROM inbox")
            await tx.execute(
                "INSERT INTO inbox (caisse, consumer, event_id) SELECT $1, 't', gen_random_uuid() "
                "FROM generate_series(1, $2::integer)",
                caisse, rows,
            )  # fmt: skip
    return identity_db


async def test_a_read_alone_sees_its_caisse_and_no_other(two_caisses: Database) -> None:
    assert await two_caisses.one_statement(MEDITERRANEE).fetchval(COUNT) == 3
    assert await two_caisses.one_statement(GRAND_OUEST).fetchval(COUNT) == 1


async def test_caisses_taking_turns_on_the_same_connections_never_mix(two_caisses: Database) -> None:
    async def count(turn: int) -> bool:
        caisse, rows = ((MEDITERRANEE, 3), (GRAND_OUEST, 1))[turn % 2]
        return await two_caisses.one_statement(caisse).fetchval(COUNT) == rows

    assert all(await asyncio.gather(*(count(turn) for turn in range(200))))


async def test_nothing_is_left_for_the_next_use_of_the_connection(
    two_caisses: Database, settings: Settings
) -> None:
    connection = await asyncpg.connect(settings.identity.dsn)
    try:
        assert await connection.fetchval(seen_by_the_last(COUNT, 1), MEDITERRANEE) == 3
        assert await connection.fetchval(COUNT) == 0
    finally:
        await connection.close()


@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
@pytest.mark.parametrize("barred", ["enable_nestloop", "enable_indexscan", "enable_hashjoin"])
async def test_the_caisse_is_set_before_a_row_is_looked_at_whatever_the_plan(
    two_caisses: Database, settings: Settings, mode: str, barred: str
) -> None:
    joined = "SELECT count(*) FROM inbox AS a JOIN inbox AS b ON b.event_id = a.event_id"
    connection = await asyncpg.connect(settings.identity.dsn)
    try:
        await connection.execute(f"SET plan_cache_mode = {mode}; SET {barred} = off")
        for _ in range(8):
            assert await connection.fetchval(seen_by_the_last(joined, 1), MEDITERRANEE) == 3
    finally:
        await connection.close()


@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
@pytest.mark.parametrize(
    "barred", ["enable_nestloop", "enable_indexscan", "enable_hashjoin", "enable_memoize", "enable_material"]
)
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) AS found FROM inbox AS a JOIN inbox AS b ON b.event_id = a.event_id",
        "SELECT (SELECT count(*) FROM inbox) AS found FROM (VALUES (1)) AS one",
        "SELECT found FROM (VALUES (1)) AS one LEFT JOIN (SELECT count(*) AS found FROM inbox) AS all_of_them ON true",
        "SELECT found FROM (VALUES (1)) AS one"
        " LEFT JOIN LATERAL (SELECT count(*) OVER () AS found FROM inbox LIMIT 1) AS first ON true",
    ],
)
async def test_a_statement_that_shares_its_message_leaves_no_caisse_behind(
    two_caisses: Database, settings: Settings, mode: str, barred: str, sql: str
) -> None:
    """Whatever the plan: its caisse is set before a row is looked at, and gone when its row has been found."""
    connection = await asyncpg.connect(settings.identity.dsn)
    shared = one_row_seen_by_the_last(sql, 1)
    try:
        await connection.execute(f"SET plan_cache_mode = {mode}; SET {barred} = off")
        for _ in range(4):
            async with connection.transaction():
                for caisse, rows in ((MEDITERRANEE, 3), (GRAND_OUEST, 1), (MEDITERRANEE, 3)):
                    assert await connection.fetchval(shared, caisse) == rows
                    assert await connection.fetchval("SELECT current_setting('espace.caisse')") == ""
                    assert await connection.fetchval(COUNT) == 0
            answers = await connection.fetchmany(shared, [(MEDITERRANEE,), (GRAND_OUEST,)] * 8)
            assert [answer["found"] for answer in answers] == [3, 1] * 8
    finally:
        await connection.close()


async def test_rows_come_in_the_order_asked(two_caisses: Database) -> None:
    rows = await two_caisses.one_statement(MEDITERRANEE).fetch(
        "SELECT event_id FROM inbox ORDER BY event_id DESC"
    )
    found = [row["event_id"] for row in rows]

    assert len(found) == 3 and found == sorted(found, reverse=True)


async def test_a_read_outlives_the_death_of_every_pooled_connection(
    two_caisses: Database, settings: Settings
) -> None:
    read = two_caisses.one_statement(MEDITERRANEE)
    await asyncio.gather(*(read.fetchval("SELECT pg_sleep(0.05)") for _ in range(5)))
    killer = await asyncpg.connect(settings.identity.dsn)
    try:
        await killer.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE usename = current_user AND datname = current_database() AND pid <> pg_backend_pid()"
        )
    finally:
        await killer.close()

    assert await read.fetchval(COUNT) == 3


async def test_a_write_alone_that_may_have_happened_is_not_sent_again(
    two_caisses: Database, settings: Settings
) -> None:
    """The connection dies under the INSERT: the caller hears so, and at most one row is there."""
    writing = asyncio.create_task(
        two_caisses.write_alone(
            MEDITERRANEE,
            "WITH slow AS (SELECT pg_sleep(5)), part AS (INSERT INTO inbox (caisse, consumer, event_id) "
            "SELECT set_config('espace.caisse', $1, true), 'alone', gen_random_uuid() FROM slow RETURNING true) "
            "SELECT set_config('lock_timeout', $2, true) FROM part",
            [MEDITERRANEE],
            shares=False,
        )
    )
    killer = await asyncpg.connect(settings.identity.dsn)
    try:
        killed = 0
        while not killed:
            killed = await killer.fetchval(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE query LIKE 'WITH slow%' AND state = 'active' AND pid <> pg_backend_pid()"
            )
            await asyncio.sleep(0.01)
    finally:
        await killer.close()
    with pytest.raises(DatabaseUnavailable):
        await writing

    mine = "SELECT count(*) FROM inbox WHERE consumer = 'alone'"
    assert await two_caisses.one_statement(MEDITERRANEE).fetchval(mine) == 0

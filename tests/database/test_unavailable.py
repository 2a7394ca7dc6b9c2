"""A server that cannot, for now, is an outage and no defect: the caller is told to come back."""

import pytest

from libs.common.database.pool import Database
from libs.common.database.transaction import DatabaseUnavailable, UnwritableText
from libs.common.values.caisse_slug import parse_caisse_slug

HERE = parse_caisse_slug("mediterranee")
CANNOT = {
    "too many connections": "53300",
    "disk full": "53100",
    "out of memory": "53200",
    "admin shutdown": "57P01",
    "crash shutdown": "57P02",
    "cannot connect now": "57P03",
    "connection failure": "08006",
    "read only": "25006",
}


@pytest.mark.parametrize("code", CANNOT.values(), ids=CANNOT.keys())
async def test_what_the_server_cannot_do_now_is_an_outage(identity_db: Database, code: str) -> None:
    with pytest.raises(DatabaseUnavailable):
        async with identity_db.transaction(HERE) as tx:
            await tx.execute(f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{code}'; END $$")
    assert await identity_db.one_statement(HERE).fetchval("SELECT 1") == 1


async def test_a_server_become_read_only_is_an_outage_and_its_connection_is_left(
    identity_db: Database,
) -> None:
    async def standby() -> None:
        async with identity_db.transaction(HERE) as tx:
            await tx.execute("SET TRANSACTION READ ONLY")
            await tx.execute(
                "INSERT INTO inbox (caisse, consumer, event_id) VALUES ($1, 't', gen_random_uuid())", HERE
            )

    for _ in range(12):
        with pytest.raises(DatabaseUnavailable):
            await standby()
    async with identity_db.transaction(HERE) as tx:
        await tx.execute(
            "INSERT INTO inbox (caisse, consumer, event_id) VALUES ($1, 't', gen_random_uuid())", HERE
        )


async def test_u0000_in_json_is_unwritable_as_in_a_text(identity_db: Database) -> None:
    for sql in ("SELECT $1::text", "SELECT $1::text::jsonb"):
        with pytest.raises(UnwritableText):
            await identity_db.one_statement(HERE).fetchval(sql, '"\\u0000"' if "json" in sql else "\x00")

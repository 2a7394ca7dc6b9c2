"""The worker forgets what has served, table by table: backlogs in batches, and one that fails holds up no other."""

from datetime import datetime, timedelta

import asyncpg
import pytest

from libs.common.database import inbox
from libs.common.database.forgetting import BATCH
from libs.common.database.pool import Database
from libs.common.runtime.settings import Settings
from libs.common.values.caisse_slug import CaisseSlug, parse_caisse_slug
from services.identity.work import forget_what_has_served
from tests.conftest import HeldClock
from tests.identity.sign_in.visitors import add_caisses

HERE = parse_caisse_slug("mediterranee")
YEAR = timedelta(days=365)
KEPT = {
    "sign_in": timedelta(),
    "password_reset": timedelta(),
    "session": timedelta(days=30),
    "known_device": timedelta(days=400),
    "consent": 5 * YEAR,
    "mandate_command": timedelta(days=90),
}
"""How long after the instant that counts a row of each table stays."""
WRITE = {
    "sign_in": "INSERT INTO sign_in (id, caisse, token_hash, person_id, password_at, expires_at) "
    "SELECT gen_random_uuid(), $1, sha256(($2::timestamptz::text || n)::bytea), $3, $2, $2",
    "password_reset": "INSERT INTO password_reset (id, caisse, person_id, token_hash, created_at, expires_at) "
    "SELECT gen_random_uuid(), $1, $3, sha256(($2::timestamptz::text || n)::bytea), $2, $2",
    "session": "INSERT INTO session (id, caisse, token_hash, person_id, auth_time, acr, amr, created_at, last_seen_at) "
    "SELECT gen_random_uuid(), $1, sha256(($2::timestamptz::text || n)::bytea), $3, $2, 'pwd', '{}', $2, $2",
    "known_device": "INSERT INTO known_device (id, caisse, person_id, token_hash, label, created_at, last_used_at) "
    "SELECT gen_random_uuid(), $1, $3, sha256(($2::timestamptz::text || n)::bytea), '', $2, $2",
    "consent": "INSERT INTO consent (caisse, id, person_id, client_id, scopes, given_at, expires_at) "
    "SELECT $1, gen_random_uuid(), $3, 'c' || n, '{}', $2, $2",
    "mandate_command": "INSERT INTO mandate_command (caisse, key, command, person_id, mandate_ids, at) "
    "SELECT $1, 'a-key-of-16-symbols' || $2::timestamptz::text || n, '', $3, '{}', $2",
}


@pytest.fixture(scope="module")
async def caisse(identity_db: Database, held: HeldClock) -> CaisseSlug:
    await add_caisses(identity_db, held)
    async with identity_db.transaction(HERE) as tx:
        await tx.execute(
            "INSERT INTO person (id, email, email_key, created_at) "
            "VALUES (gen_random_uuid(), 'a@example.test', 'a@example.test', now())"
        )
    return HERE


async def write(db: Database, caisse: CaisseSlug, table: str, at: datetime, rows: int) -> None:
    async with db.transaction(caisse) as tx:
        person = await tx.fetchval("SELECT id FROM person LIMIT 1")
        await tx.execute(f"{WRITE[table]} FROM generate_series(1, {rows}) AS n", caisse, at, person)


async def counted(db: Database, caisse: CaisseSlug, table: str) -> int:
    async with db.transaction(caisse) as tx:
        return await tx.fetchval(f"SELECT count(*) FROM {table}")


@pytest.mark.parametrize("table", KEPT)
async def test_a_row_stays_its_time_and_goes_the_second_after(
    identity_db: Database, identity_relay: Database, caisse: CaisseSlug, held: HeldClock, table: str
) -> None:
    now = held.forward(days=1)
    await write(identity_db, caisse, table, now - KEPT[table], 3)
    await forget_what_has_served(identity_relay, now)
    assert await counted(identity_db, caisse, table) == 3
    await forget_what_has_served(identity_relay, now + timedelta(seconds=1))
    assert await counted(identity_db, caisse, table) == 0


async def test_a_backlog_larger_than_a_batch_goes_in_one_round(
    identity_db: Database, identity_relay: Database, caisse: CaisseSlug, held: HeldClock
) -> None:
    now = held.forward(days=1)
    await write(identity_db, caisse, "session", now - timedelta(days=40), 2 * BATCH + 10)
    await forget_what_has_served(identity_relay, now)
    assert await counted(identity_db, caisse, "session") == 0


async def test_a_table_that_cannot_be_swept_holds_up_no_other(
    identity_db: Database, identity_relay: Database, caisse: CaisseSlug, held: HeldClock, settings: Settings
) -> None:
    """The first in line is held by somebody, for longer than a statement may take."""
    now = held.forward(days=1)
    await write(identity_db, caisse, "sign_in", now - timedelta(days=1), 3)
    await write(identity_db, caisse, "mandate_command", now - YEAR, 3)
    holder = await asyncpg.connect(settings.identity.owner_dsn)
    try:
        async with holder.transaction():
            await holder.execute("LOCK TABLE sign_in IN ACCESS EXCLUSIVE MODE")
            await forget_what_has_served(identity_relay, now)
            assert await counted(identity_db, caisse, "mandate_command") == 0
    finally:
        await holder.close()
    assert await counted(identity_db, caisse, "sign_in") == 3
    await forget_what_has_served(identity_relay, now)
    assert await counted(identity_db, caisse, "sign_in") == 0


async def test_a_key_that_goes_takes_nobody_else_s_of_the_same_name_along(
    identity_db: Database, identity_relay: Database, caisse: CaisseSlug, held: HeldClock
) -> None:
    now = held.forward(days=1)
    async with identity_db.transaction(caisse) as tx:
        await tx.execute(
            "INSERT INTO mandate_command (caisse, key, command, person_id, mandate_ids, at) VALUES "
            "($1, 'a-key-of-16-symbols', '', gen_random_uuid(), '{}', $2), "
            "($1, 'a-key-of-16-symbols', '', gen_random_uuid(), '{}', $3)",
            caisse,
            now - YEAR,
            now,
        )
    await forget_what_has_served(identity_relay, now)
    assert await counted(identity_db, caisse, "mandate_command") == 1


async def test_what_was_heard_is_remembered_longer_than_it_may_come_again(
    identity_db: Database, identity_relay: Database, caisse: CaisseSlug
) -> None:
    """P7: 30 days in the outbox, then 30 in the stream that it refilled; the inbox never forgot before."""
    async with identity_db.transaction(caisse) as tx:
        await tx.execute(
            "INSERT INTO inbox (caisse, consumer, event_id, heard_at) "
            "SELECT $1, 'test', gen_random_uuid(), now() - days * interval '1 day' FROM unnest($2::int[]) AS days",
            caisse, [1, 60, 89, 91, 400],
        )  # fmt: skip
    async with identity_relay.across_caisses() as tx:
        assert await inbox.forget_heard(tx, limit=1) == 1
        assert await inbox.forget_heard(tx) == 1
        assert await inbox.forget_heard(tx) == 0
    assert await counted(identity_db, caisse, "inbox") == 3

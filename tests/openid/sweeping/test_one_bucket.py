"""A row is looked for in the bucket that its name says, stays there, and is read through its table alone."""

import re
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.database.gathering import Kind
from libs.common.database.one_statement import OneStatement, Reader, Verb
from libs.common.database.pool import PATIENT, Database
from libs.common.database.transaction import Row, Tx
from libs.common.runtime.settings import Settings
from libs.common.values.identifiers import new_id
from services.identity.openid import effects, flow_store, store
from services.identity.openid.bucket_names import (
    code_place,
    flow_span,
    grant_bucket,
    handle_place,
    new_code,
    new_flow_id,
    new_grant_id,
    new_handle,
    new_refresh_secret,
    refresh_place,
)
from services.identity.openid.buckets import RINGS, Bucketed, bucket_of
from services.identity.openid.effect_store import together, values_of
from services.identity.openid.effects import Effect
from services.identity.openid.presented import Sought
from services.identity.openid.steps import FLOW_LASTS
from services.identity.openid.visit_store import visited
from tests.openid.party import Issuer
from tests.openid.sweeping.test_table_sizes import REQUEST, a_grant, a_refresh_token

YEAR_2000 = datetime(2000, 1, 1, tzinfo=UTC)
SOUGHT = (b"s" * 32, YEAR_2000, YEAR_2000)
SEARCHED = "SELECT relname, coalesce(seq_scan, 0) + coalesce(idx_scan, 0) FROM pg_stat_xact_user_tables"
ROWS_READ = (
    "SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint FROM pg_stat_xact_user_tables"
)
CROWD = """
WITH numbered AS (
    SELECT n, gen_random_uuid() AS id, sha256(n::text::bytea) AS hash FROM generate_series(1, $3::int) AS n
), person AS (
    INSERT INTO person (id, email, email_key, created_at) SELECT id, n || '@c', n || '@c', $2 FROM numbered
    RETURNING id
), session AS (
    INSERT INTO session (id, caisse, token_hash, person_id, auth_time, acr, amr, created_at, last_seen_at)
    SELECT numbered.id, $1, hash, numbered.id, $2, 'pwd', '{}', $2, $2
      FROM numbered JOIN person ON person.id = numbered.id
), granted AS (
    INSERT INTO authorization_grant (caisse, id, client_id, person_id, session_id, granted, created_at, expires_at,
                                     bucket)
    SELECT $1, id, 'c', id, id, '{}', $2, $2, $5 FROM numbered
), coded AS (
    INSERT INTO authorization_code (caisse, code_hash, grant_id, redirect_uri, expires_at, bucket)
    SELECT $1, hash, id, 'https://c/', $2, $4 FROM numbered
)
INSERT INTO refresh_token (caisse, token_hash, grant_id, issued_at, expires_at, bucket)
SELECT $1, hash, id, $2, $2, $5 FROM numbered
"""
"""Thousands of sign-ins of one caisse, in the very buckets of the row that is looked for."""
PARTITION = re.compile(rf"({'|'.join(RINGS)})_([0-9]+|former)")
Step = Callable[[Tx], Awaitable[object]]


async def searches(tx: Tx) -> Counter[str]:
    """By PostgreSQL's own count: how often this connection searched each partition, a little before included."""
    counted = {row[0]: row[1] for row in await tx.fetch(SEARCHED) if PARTITION.fullmatch(row[0])}
    return +Counter(counted)


def buckets_of(found: Counter[str]) -> dict[str, set[str]]:
    """Each table's partitions among those found."""
    said: dict[str, set[str]] = {}
    for table, bucket in (PARTITION.fullmatch(name).groups() for name in found):  # type: ignore[union-attr]
        said.setdefault(table, set()).add(bucket)
    return said


async def write(tx: Tx, changes: Sequence[Effect]) -> None:
    """The statement of a decision, here in the transaction whose searches are counted."""
    await tx.fetchval(together(tuple(map(type, changes))), *values_of(changes, tx.the_caisse), PATIENT)


def writing(*changes: Effect) -> Step:
    async def step(tx: Tx) -> None:
        await write(tx, changes)

    return step


def steps(now: datetime) -> Sequence[tuple[str, Step, set[str]]]:
    """Every look-up and change by name, after `written`, with the tables whose partitions it searches."""
    grant = a_grant(now, now + timedelta(days=90))
    token = a_refresh_token(grant)
    next_token = a_refresh_token(grant)
    handle = handle_place(new_handle(now + timedelta(minutes=5)))
    flow = new_flow_id(now + FLOW_LASTS)
    shown = Sought(grant.grant_id, "jti", int(now.timestamp()) + 600, ["sid/s"])
    both = {"authorization_grant", "refresh_token"}

    async def written(tx: Tx) -> None:
        pushed = effects.StorePushedRequest(handle, "c", b"{}", now + timedelta(minutes=5))
        await write(tx, (grant, token, pushed, effects.RevokeToken("jti", now + timedelta(minutes=10))))
        await flow_store.open_flow(tx, flow, b"b" * 32, REQUEST, now, now + FLOW_LASTS)

    session = new_id()
    flows = {"authorization_flow"}
    return (
        # ON CONFLICT looks before it writes.
        ("write", written, {"revoked_token"}),
        ("code", lambda tx: store.load_for_code(tx, "c", grant.code), {"authorization_code", "authorization_grant"}),
        ("refresh", lambda tx: store.load_for_refresh(tx, "c", token.place), both),
        ("token", lambda tx: store.load_for_token(tx, "c", shown),
         {"authorization_grant", "revoked_token"}),
        ("visited", lambda tx: visited(tx, "c", now, session=SOUGHT, pushed_at=handle), {"pushed_request"}),
        ("spend pushed", writing(effects.SpendPushedRequest(handle, now)), {"pushed_request"}),
        ("consume code", writing(effects.ConsumeCode(grant.code, grant.grant_id, now)), {"authorization_code"}),
        ("prolong", writing(effects.ProlongRefresh(token.place, now + timedelta(days=14))), {"refresh_token"}),
        ("rotate", writing(effects.RotateRefresh(token.place, next_token)), {"refresh_token"}),
        ("revoke", writing(effects.RevokeGrant(grant.grant_id, "test", now)), {"authorization_grant"}),
        ("flow", lambda tx: flow_store.flow_of_browser(tx, flow, b"b" * 32, now), flows),
        ("asked", lambda tx: flow_store.asked_of(tx, flow, b"b" * 32, now), flows),
        ("firm", lambda tx: flow_store.choose_firm(tx, flow, session, None), flows),
        ("person", lambda tx: flow_store.confirm_person(tx, flow, session), flows),
        ("consent", lambda tx: flow_store.consent(tx, flow, session, "seen", now), flows),
        ("again", lambda tx: flow_store.ask_to_sign_in_again(tx, flow, REQUEST, now), flows),
        ("finish", writing(effects.FinishFlow(flow, now)), flows),
    )  # fmt: skip


async def test_every_look_up_and_change_searches_one_bucket(issuer: Issuer) -> None:
    searched: dict[str, dict[str, set[str]]] = {}
    expected: dict[str, set[str]] = {}
    for name, step, tables in steps(issuer.clock()):
        async with issuer.db.transaction(issuer.caisse) as tx:
            before = await searches(tx)
            await step(tx)
            searched[name] = buckets_of(await searches(tx) - before)
        expected[name] = tables
    assert {name: set(found) for name, found in searched.items()} == expected
    assert [
        (name, found)
        for name, found in searched.items()
        if any(len(buckets) != 1 for buckets in found.values())
    ] == []


async def test_the_plan_of_a_look_up_is_made_once(issuer: Issuer, settings: Settings) -> None:
    """PostgreSQL counts seventeen partitions in a plan for any bucket; left to itself it plans at each request."""
    serving = await Database.open(settings.identity.dsn, name="test", keeps_plans=True)
    now = issuer.clock()
    grant = a_grant(now, now + timedelta(days=90))
    token = a_refresh_token(grant)
    try:
        async with serving.transaction(issuer.caisse) as tx:
            await write(tx, (grant, token))
            for _ in range(8):
                await store.load_for_refresh(tx, "c", token.place)
                await store.load_for_code(tx, "c", grant.code)
            plans = await tx.fetchrow(
                "SELECT sum(custom_plans), sum(generic_plans) FROM pg_prepared_statements"
            )
            touched = buckets_of(await searches(tx))
    finally:
        await serving.close()
    assert plans is not None and plans[0] == 0 and plans[1] >= 16
    assert [buckets for buckets in touched.values() if len(buckets) != 1] == []


ROWS_AROUND = 5_000


async def test_a_look_up_reads_a_handful_of_rows_among_thousands(issuer: Issuer, settings: Settings) -> None:
    """As it serves: by one message whose plan is made before its caisse is known, and kept."""
    now = issuer.clock()
    grant = a_grant(now, now + timedelta(days=90))
    token = a_refresh_token(grant)
    async with issuer.db.transaction(issuer.caisse) as tx:
        await write(tx, (grant, token, effects.RevokeToken("jti", now + timedelta(minutes=10))))
        await tx.execute(
            CROWD, issuer.caisse, now, ROWS_AROUND, grant.code.rows.first, token.place.rows.first
        )
    owner = await asyncpg.connect(settings.identity.owner_dsn)
    await owner.execute("ANALYZE")
    await owner.close()
    shown = Sought(grant.grant_id, "jti", int(now.timestamp()) + 600, ["sid/s"])
    a_hash = sha256(b"7").digest()
    asked: dict[str, Callable[[Reader], Awaitable[object]]] = {
        "code": lambda read: store.load_for_code(read, "c", grant.code),
        "refresh": lambda read: store.load_for_refresh(read, "c", token.place),
        "token": lambda read: store.load_for_token(read, "c", shown),
        "visited": lambda read: visited(read, "c", now, session=(a_hash, YEAR_2000, YEAR_2000)),
        "presented": lambda read: store.load_presented(read, "c", shown, "c"),
    }
    connection = await asyncpg.connect(
        settings.identity.dsn, server_settings={"plan_cache_mode": "force_generic_plan"}
    )

    async def ask(verb: Verb, sql: str, args: tuple[object, ...]) -> Any:
        return await getattr(connection, verb)(sql, *args)

    async def gather(kind: Kind, args: tuple[object, ...]) -> Row:
        row = await connection.fetchrow(kind.sql, *args)
        assert row is not None
        return row

    read_rows: dict[str, int] = {}
    try:
        for name, look_up in asked.items():
            async with connection.transaction():
                before = await connection.fetchval(ROWS_READ)
                found = await look_up(OneStatement(ask, gather, issuer.caisse))
                read_rows[name] = await connection.fetchval(ROWS_READ) - before
            assert found is not None
    finally:
        await connection.close()
    assert {name: rows for name, rows in read_rows.items() if rows > 10} == {}


@pytest.mark.parametrize("table", RINGS)
async def test_no_update_moves_a_row_to_another_bucket(issuer: Issuer, table: Bucketed) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with issuer.db.transaction(issuer.caisse) as tx:
            await tx.execute(f"UPDATE {table} SET bucket = 1")


@pytest.mark.parametrize("column", ["expires_at", "id"])
async def test_the_last_instant_of_a_grant_never_moves(issuer: Issuer, column: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with issuer.db.transaction(issuer.caisse) as tx:
            await tx.execute(f"UPDATE authorization_grant SET {column} = {column}")


async def partitions(settings: Settings) -> list[str]:
    owner = await asyncpg.connect(settings.identity.owner_dsn)
    try:
        rows = await owner.fetch(
            "SELECT c.relname FROM pg_class c WHERE c.relispartition AND c.relkind = 'r'"
        )
        return [row["relname"] for row in rows if PARTITION.fullmatch(row["relname"])]
    finally:
        await owner.close()


async def test_a_partition_shows_nothing_to_who_asks_it_directly(issuer: Issuer, settings: Settings) -> None:
    """P10: neither to the serving role, nor to the sweeper; and no row to the owner, who is held too."""
    now = issuer.clock()
    grant = a_grant(now, now + timedelta(days=90))
    async with issuer.db.transaction(issuer.caisse) as tx:
        await write(tx, (grant, a_refresh_token(grant)))
    every = await partitions(settings)
    assert len(every) == 4 * 4 + 2 * 17
    for dsn in (settings.identity.dsn, settings.identity.relay_dsn):
        connection = await asyncpg.connect(dsn)
        await connection.execute("SELECT set_config('espace.caisse', $1, false)", issuer.caisse)
        for part in every:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch(f"SELECT * FROM {part}")
        await connection.close()
    owner = await asyncpg.connect(settings.identity.owner_dsn)
    assert [part for part in every if await owner.fetchval(f"SELECT count(*) FROM {part}")] == []
    await owner.close()


async def test_another_caisse_sees_nothing_through_the_table(issuer: Issuer, settings: Settings) -> None:
    connection = await asyncpg.connect(settings.identity.dsn)
    await connection.execute("SELECT set_config('espace.caisse', 'grand-ouest', false)")
    assert [t for t in RINGS if await connection.fetchval(f"SELECT count(*) FROM {t}")] == []
    await connection.close()


@given(st.integers(1_800_000_000, 4_000_000_000))
def test_a_name_says_the_bucket_of_its_last_instant(second: int) -> None:
    moment = datetime.fromtimestamp(second, UTC)
    grant, flow = new_grant_id(moment), new_flow_id(moment)
    week = bucket_of("authorization_grant", moment)
    assert grant_bucket(grant) == week and set(flow_span(flow)) == {bucket_of("authorization_flow", moment)}
    code, token = code_place(new_code(moment, grant)), refresh_place(new_refresh_secret(grant))
    assert set(code.rows) == {bucket_of("authorization_code", moment)} and set(code.grants) == {week}
    assert set(token.rows) == set(token.grants) == {week}
    assert set(handle_place(new_handle(moment)).rows) == {bucket_of("pushed_request", moment)}


@given(st.text(max_size=60))
def test_a_name_nobody_gave_is_looked_for_in_one_bucket_at_most(typed: str) -> None:
    if len(typed) != 43:
        assert all(
            place.rows.first == place.rows.last and place.grants.first == place.grants.last
            for place in (code_place(typed), refresh_place(typed), handle_place(typed))
        )


def test_a_name_keeps_its_randomness() -> None:
    """32 random bytes besides the symbols of its buckets; identifiers still sort as they were made."""
    moment = datetime(2027, 1, 1, tzinfo=UTC)
    ids = [new_grant_id(moment) for _ in range(100)]
    assert ids == sorted(ids) and len(set(ids)) == 100
    assert {identifier.version for identifier in ids} == {8}
    code = new_code(moment, ids[0])
    assert len(code) == 45 and len(new_handle(moment)) == len(new_refresh_secret(ids[0])) == 44

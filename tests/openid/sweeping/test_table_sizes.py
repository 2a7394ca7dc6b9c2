"""Tables of the protocol keep their size, however many tokens have expired (openid.md §7, "table bloat")."""

import os
from datetime import UTC, datetime, timedelta

import asyncpg
from hypothesis import given
from hypothesis import strategies as st

from libs.common.database.pool import Database
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.runtime.settings import Settings
from libs.common.values.identifiers import new_id
from services.identity.openid import effects, flow_store
from services.identity.openid.authorization_request import AuthorizationRequest
from services.identity.openid.buckets import BUCKETS, WIDTHS, Bucketed, bucket_at_rest, bucket_of
from services.identity.openid.commit import write
from services.identity.openid.duties import empty_what_rests, forget_row_by_row, sweep
from services.identity.openid.par import PUSHED_FOR
from services.identity.openid.steps import FLOW_LASTS
from services.identity.openid.sweep_store import BATCH
from services.identity.openid.tokens import ACCESS_TOKEN_LIFE
from tests.conftest import HeldClock
from tests.openid.party import Issuer

LIVES: dict[Bucketed, timedelta] = {
    "authorization_code": timedelta(seconds=60),
    "pushed_request": PUSHED_FOR,
    "authorization_flow": FLOW_LASTS,
    "revoked_token": ACCESS_TOKEN_LIFE,
}
ROWS = 1_000
REQUEST = AuthorizationRequest(client_id="c", redirect_uri="https://c/")


async def sizes(settings: Settings) -> dict[str, float]:
    """Bytes of each table, its indexes and partitions included."""
    owner = await asyncpg.connect(settings.identity.owner_dsn)
    try:
        return {
            table: float(
                await owner.fetchval(
                    "SELECT sum(pg_total_relation_size(part)) FROM (SELECT $1::text::regclass::oid UNION ALL "
                    "SELECT inhrelid FROM pg_inherits WHERE inhparent = $1::text::regclass) AS t (part)",
                    table,
                )
            )
            for table in (*WIDTHS, "refresh_token", "authorization_grant")
        }
    finally:
        await owner.close()


async def vacuum(settings: Settings) -> None:
    """What autovacuum does by itself, at a moment that the test knows."""
    owner = await asyncpg.connect(settings.identity.owner_dsn)
    try:
        await owner.execute("VACUUM refresh_token, authorization_grant")
    finally:
        await owner.close()


async def a_busy_hour(issuer: Issuer, now: datetime) -> None:
    """`ROWS` sign-ins begun, pushed, granted and revoked, through the statements that serve."""
    for _ in range(ROWS):
        grant, expires_at = new_id(), now + timedelta(hours=1)
        await write(
            issuer.db,
            issuer.caisse,
            [
                effects.StoreGrant(
                    grant_id=grant, client_id="c", person_id=new_id(), session_id=new_id(), account_id=None,
                    granted=b"{}", at=now, expires_at=expires_at, code_hash=os.urandom(32), redirect_uri="https://c/",
                    code_challenge=None, dpop_jkt=None, nonce=None,
                    code_expires_at=now + LIVES["authorization_code"],
                ),
                effects.StoreRefresh(os.urandom(32), grant, None, now, expires_at),
                effects.StorePushedRequest(os.urandom(32), "c", b"{}", now + PUSHED_FOR),
                effects.RevokeToken(str(new_id()), now + ACCESS_TOKEN_LIFE),
            ],
        )  # fmt: skip


async def test_sizes_stay_what_one_day_made_them(
    issuer: Issuer, settings: Settings, identity_relay: Database, keys: KeyEncryption
) -> None:
    now = datetime(2031, 5, 1, tzinfo=UTC)
    seen: list[dict[str, float]] = []
    for _ in range(8):
        await a_busy_hour(issuer, now)
        for _ in range(24):
            now += timedelta(hours=1)
            await empty_what_rests(identity_relay, now)
        await sweep(issuer.db, identity_relay, keys, now)
        await vacuum(settings)
        seen.append(await sizes(settings))
    # Codes rest a day, grants a day: from the third day on nothing grows. Random keys split
    # an index page sooner or later, hence the eighth; unswept, each would have doubled.
    settled = seen[3]
    grown = {
        t: [day[t] for day in seen] for t in settled if max(day[t] for day in seen[4:]) > settled[t] * 9 / 8
    }
    assert grown == {}


async def test_a_bucket_is_truncated_and_gives_its_space_back(
    issuer: Issuer, settings: Settings, identity_relay: Database
) -> None:
    now = datetime(2032, 5, 1, tzinfo=UTC)
    await a_busy_hour(issuer, now)
    full = await sizes(settings)
    for hours in range(1, 97):
        await empty_what_rests(identity_relay, now + timedelta(hours=hours))
    empty = await sizes(settings)
    for table in ("authorization_code", "pushed_request", "revoked_token"):
        assert empty[table] <= 4 * 4 * 8192 + 8192 < full[table], table


async def test_a_backlog_larger_than_a_batch_is_forgotten_in_one_round(
    issuer: Issuer, identity_relay: Database
) -> None:
    now = datetime(2033, 5, 1, tzinfo=UTC)
    async with issuer.db.transaction(issuer.caisse) as tx:
        await tx.execute(
            "INSERT INTO refresh_token (caisse, token_hash, grant_id, issued_at, expires_at) "
            "SELECT $1, sha256(n::text::bytea), gen_random_uuid(), $2, $2 FROM generate_series(1, $3) AS n",
            issuer.caisse, now, BATCH + 10,
        )  # fmt: skip
    await forget_row_by_row(identity_relay, now + timedelta(seconds=1))
    async with identity_relay.across_caisses() as tx:
        assert await tx.fetchval("SELECT count(*) FROM refresh_token WHERE expires_at <= $1", now) == 0


async def test_nothing_alive_is_ever_swept(issuer: Issuer, identity_relay: Database) -> None:
    """P4: each kind of row is there until the very second of its expiry, whatever the hour of the sweep."""
    start = datetime(2034, 5, 1, 22, 59, 30, tzinfo=UTC)
    for minutes in range(0, 180, 7):
        now = start + timedelta(minutes=minutes)
        code, pushed, jti, flow = os.urandom(32), os.urandom(32), str(new_id()), new_id()
        async with issuer.db.transaction(issuer.caisse) as tx:
            grant = effects.StoreGrant(
                grant_id=new_id(), client_id="c", person_id=new_id(), session_id=new_id(), account_id=None,
                granted=b"{}", at=now, expires_at=now + timedelta(hours=12), code_hash=code,
                redirect_uri="https://c/", code_challenge=None, dpop_jkt=None, nonce=None,
                code_expires_at=now + LIVES["authorization_code"],
            )  # fmt: skip
            more = [
                effects.StorePushedRequest(pushed, "c", b"{}", now + PUSHED_FOR),
                effects.RevokeToken(jti, now + ACCESS_TOKEN_LIFE),
            ]
            await write(issuer.db, issuer.caisse, [grant, *more])
            await flow_store.open_flow(tx, flow, b"b" * 32, REQUEST, now, now + FLOW_LASTS)
        keys: tuple[tuple[Bucketed, tuple[str, object]], ...] = (
            ("authorization_code", ("code_hash", code)),
            ("pushed_request", ("handle_hash", pushed)),
            ("revoked_token", ("jti", jti)),
            ("authorization_flow", ("id", flow)),
        )
        for kind, (column, key) in keys:
            await empty_what_rests(identity_relay, now + LIVES[kind])
            async with issuer.db.transaction(issuer.caisse) as tx:
                assert await tx.fetchval(f"SELECT count(*) FROM {kind} WHERE {column} = $1", key) == 1, kind


@given(st.sampled_from(list(LIVES)), st.integers(1_800_000_000, 4_000_000_000), st.floats(0, 1))
def test_the_bucket_at_rest_never_holds_a_living_row(table: Bucketed, second: int, share: float) -> None:
    now = datetime.fromtimestamp(second, UTC)
    remaining = LIVES[table] * share
    assert bucket_of(table, now + remaining) != bucket_at_rest(table, now)
    # … nor one that died less than a whole width ago.
    dead_for = timedelta(seconds=WIDTHS[table]) * share * 0.999
    assert bucket_of(table, now - dead_for) != bucket_at_rest(table, now)
    assert LIVES[table].total_seconds() <= WIDTHS[table] and 0 <= bucket_of(table, now) < BUCKETS


async def test_a_replayed_code_is_still_known_a_day_after(
    issuer: Issuer, identity_relay: Database, keys: KeyEncryption, held: HeldClock
) -> None:
    who = await (await issuer.person()).sign_in()
    client = await issuer.client()
    code = await client.code(who)
    assert (await client.redeem(code)).status_code == 200
    held.forward(hours=23)
    await sweep(issuer.db, identity_relay, keys, held.now)
    assert (await client.redeem(code)).json()["error"] == "invalid_grant"
    async with issuer.db.transaction(issuer.caisse) as tx:
        why = await tx.fetchval(
            "SELECT revoked_why FROM authorization_grant WHERE client_id = $1", client.client_id
        )
    assert why == "code_replayed"

"""Tables of the protocol keep their size, however many tokens have expired (openid.md §7, "table bloat")."""

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
from services.identity.openid.bucket_names import (
    code_place,
    handle_place,
    new_code,
    new_flow_id,
    new_grant_id,
    new_handle,
    new_refresh_secret,
    refresh_place,
)
from services.identity.openid.buckets import DAY, RINGS, Bucketed, bucket_of
from services.identity.openid.commit import write
from services.identity.openid.duties import empty_what_rests, sweep
from services.identity.openid.issuing import OFFLINE_GRANT_LIFE, SESSION_GRANT_LIFE
from services.identity.openid.par import PUSHED_FOR
from services.identity.openid.steps import FLOW_LASTS
from services.identity.openid.tokens import ACCESS_TOKEN_LIFE
from tests.conftest import HeldClock
from tests.openid.party import Issuer

LIVES: dict[Bucketed, timedelta] = {
    "authorization_code": timedelta(seconds=60),
    "pushed_request": PUSHED_FOR,
    "authorization_flow": FLOW_LASTS,
    "revoked_token": ACCESS_TOKEN_LIFE,
    "authorization_grant": OFFLINE_GRANT_LIFE,
    "refresh_token": OFFLINE_GRANT_LIFE,
}
OF_MINUTES: tuple[Bucketed, ...] = (
    "authorization_code",
    "pushed_request",
    "authorization_flow",
    "revoked_token",
)
OF_WEEKS: tuple[Bucketed, ...] = ("authorization_grant", "refresh_token")
ROWS = 1_000
MANY = 100_000
REQUEST = AuthorizationRequest(client_id="c", redirect_uri="https://c/")


async def sizes(settings: Settings) -> dict[Bucketed, int]:
    """Bytes of each table, its indexes and partitions included."""
    owner = await asyncpg.connect(settings.identity.owner_dsn)
    try:
        return {
            table: int(
                await owner.fetchval(
                    "SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree($1::text::regclass)",
                    table,
                )
            )
            for table in RINGS
        }
    finally:
        await owner.close()


def a_grant(now: datetime, expires_at: datetime) -> effects.StoreGrant:
    grant, code_expires_at = new_grant_id(expires_at), now + LIVES["authorization_code"]
    return effects.StoreGrant(
        grant_id=grant, client_id="c", person_id=new_id(), session_id=new_id(), account_id=None, granted=b"{}",
        at=now, expires_at=expires_at, code=code_place(new_code(code_expires_at, grant)),
        redirect_uri="https://c/", code_challenge=None, dpop_jkt=None, nonce=None, code_expires_at=code_expires_at,
    )  # fmt: skip


def a_refresh_token(grant: effects.StoreGrant) -> effects.StoreRefresh:
    place = refresh_place(new_refresh_secret(grant.grant_id))
    return effects.StoreRefresh(place, grant.grant_id, None, grant.at, grant.expires_at)


async def a_busy_hour(issuer: Issuer, now: datetime) -> None:
    """`ROWS` sign-ins begun, pushed, granted and revoked, through the statements that serve."""
    for _ in range(ROWS):
        grant, pushed_until = a_grant(now, now + SESSION_GRANT_LIFE), now + PUSHED_FOR
        pushed = effects.StorePushedRequest(handle_place(new_handle(pushed_until)), "c", b"{}", pushed_until)
        revoked = effects.RevokeToken(str(new_id()), now + ACCESS_TOKEN_LIFE)
        await write(issuer.db, issuer.caisse, (grant, a_refresh_token(grant), pushed, revoked))


def grown(seen: list[dict[Bucketed, int]], tables: tuple[Bucketed, ...]) -> dict[Bucketed, list[int]]:
    """The tables larger in the last four looks than in the one before. Random keys split an index page sooner or
    later, hence an eighth; unswept, each would have doubled."""
    settled = seen[-5]
    return {
        table: [look[table] for look in seen]
        for table in tables
        if max(look[table] for look in seen[-4:]) > settled[table] * 9 / 8
    }


async def test_sizes_stay_what_one_day_made_them(
    issuer: Issuer, settings: Settings, identity_relay: Database, keys: KeyEncryption
) -> None:
    now = datetime(2031, 5, 1, tzinfo=UTC)
    seen: list[dict[Bucketed, int]] = []
    for _ in range(8):
        await a_busy_hour(issuer, now)
        for _ in range(24):
            now += timedelta(hours=1)
            await empty_what_rests(identity_relay, now)
        await sweep(issuer.db, identity_relay, keys, now)
        seen.append(await sizes(settings))
    # Codes rest a day: from the third day on nothing grows.
    assert grown(seen, OF_MINUTES) == {}


async def test_sizes_stay_what_a_fortnight_made_them(
    issuer: Issuer, settings: Settings, identity_relay: Database
) -> None:
    now = datetime(2031, 8, 1, tzinfo=UTC)
    seen: list[dict[Bucketed, int]] = []
    for _ in range(8):
        await a_busy_hour(issuer, now)
        now += timedelta(weeks=1)
        await empty_what_rests(identity_relay, now)
        seen.append(await sizes(settings))
    assert grown(seen, OF_WEEKS) == {}


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


async def weeks_pass(relay: Database, now: datetime, weeks: int) -> None:
    for week in range(weeks + 1):
        await empty_what_rests(relay, now + timedelta(weeks=week))


async def test_a_hundred_thousand_grants_leave_no_byte_behind(
    issuer: Issuer, settings: Settings, identity_relay: Database
) -> None:
    """Written over thirteen weeks of expiry, expired, swept: the tables are as large as before the first."""
    now = datetime(2036, 5, 1, tzinfo=UTC)
    await weeks_pass(identity_relay, now, 16)
    before = await sizes(settings)
    ring = RINGS["authorization_grant"]
    for first in range(0, MANY, MANY // 10):
        async with issuer.db.transaction(issuer.caisse) as tx:
            await tx.execute(
                """
            WITH written AS (
                SELECT n, $2::timestamptz + n % 90 * interval '1 day' AS expires_at
                  FROM generate_series($3::int + 1, $6::int) AS n
            ), placed AS (
                SELECT n, gen_random_uuid() AS id, expires_at,
                       extract(epoch FROM expires_at)::bigint / $4::bigint % $5::bigint AS bucket
                  FROM written
            ), granted AS (
                INSERT INTO authorization_grant (caisse, id, client_id, person_id, session_id, granted, created_at,
                                                 expires_at, bucket)
                SELECT $1, id, 'c', gen_random_uuid(), gen_random_uuid(), '{}', $2, expires_at, bucket FROM placed
            )
            INSERT INTO refresh_token (caisse, token_hash, grant_id, issued_at, expires_at, bucket)
            SELECT $1, sha256(n::text::bytea), id, $2, expires_at, bucket FROM placed
            """,
                issuer.caisse, now, first, ring.width, ring.buckets, first + MANY // 10,
            )  # fmt: skip
    full = await sizes(settings)
    assert min(full[table] - before[table] for table in OF_WEEKS) > MANY * 100

    await weeks_pass(identity_relay, now, 16)
    after = await sizes(settings)
    assert {table: after[table] for table in OF_WEEKS} == {table: before[table] for table in OF_WEEKS}


async def test_nothing_alive_is_ever_swept(issuer: Issuer, identity_relay: Database) -> None:
    """P4: each kind of row is there until the very second of its expiry, whatever the hour of the sweep."""
    start = datetime(2034, 5, 1, 22, 59, 30, tzinfo=UTC)
    for minutes in range(0, 180, 7):
        now = start + timedelta(minutes=minutes)
        jti, flow = str(new_id()), new_flow_id(now + FLOW_LASTS)
        pushed = handle_place(new_handle(now + PUSHED_FOR))
        grant = a_grant(now, now + OFFLINE_GRANT_LIFE)
        token = a_refresh_token(grant)
        await write(
            issuer.db,
            issuer.caisse,
            (
                grant,
                token,
                effects.StorePushedRequest(pushed, "c", b"{}", now + PUSHED_FOR),
                effects.RevokeToken(jti, now + ACCESS_TOKEN_LIFE),
            ),
        )
        async with issuer.db.transaction(issuer.caisse) as tx:
            await flow_store.open_flow(tx, flow, b"b" * 32, REQUEST, now, now + FLOW_LASTS)
        keys: tuple[tuple[Bucketed, tuple[str, object]], ...] = (
            ("pushed_request", ("handle_hash", pushed.digest)),
            ("revoked_token", ("jti", jti)),
            ("authorization_flow", ("id", flow)),
            ("authorization_code", ("code_hash", grant.code.digest)),
            ("authorization_grant", ("id", grant.grant_id)),
            ("refresh_token", ("token_hash", token.place.digest)),
        )
        for kind, (column, key) in keys:
            await empty_what_rests(identity_relay, now + LIVES[kind])
            async with issuer.db.transaction(issuer.caisse) as tx:
                assert await tx.fetchval(f"SELECT count(*) FROM {kind} WHERE {column} = $1", key) == 1, kind


@given(st.sampled_from(list(LIVES)), st.integers(1_800_000_000, 4_000_000_000), st.floats(0, 1))
def test_the_bucket_at_rest_never_holds_a_living_row(table: Bucketed, second: int, share: float) -> None:
    now = datetime.fromtimestamp(second, UTC)
    remaining = LIVES[table] * share
    assert bucket_of(table, now + remaining) != RINGS[table].at_rest(now)
    # … nor one that died less than a whole width ago.
    dead_for = timedelta(seconds=RINGS[table].width) * share * 0.999
    assert bucket_of(table, now - dead_for) != RINGS[table].at_rest(now)
    assert 0 <= bucket_of(table, now) < RINGS[table].buckets


@given(st.sampled_from(list(LIVES)))
def test_no_row_outlives_its_ring(table: Bucketed) -> None:
    """Two buckets rest: the one whose rows have just died, and the one that is emptied."""
    ring = RINGS[table]
    assert LIVES[table].total_seconds() <= ring.width * (ring.buckets - 3)
    assert ring.width >= (DAY if table in (*OF_WEEKS, "authorization_code") else 0)


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

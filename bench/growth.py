"""What a million tokens leave behind: table sizes once they have expired, and the cost of an operation among them.

Rows are made at speed, in PostgreSQL itself, in the shape that a busy hour leaves; then the clock of the sweeps
moves past their end and the sweeps of `espace work identity` run as they are.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from bench.espace_installation import CAISSE, DATABASE, Installation
from bench.figures import spread
from bench.operations import OPERATIONS
from bench.rounds import Measured, one_window
from libs.common.access.proof_memory import forget_old_proofs
from libs.common.database.pool import Database
from services.identity.openid.buckets import bucket_of
from services.identity.openid.duties import empty_what_rests, sweep
from services.identity.openid.issuing import SESSION_GRANT_LIFE

TABLES = (
    "authorization_grant", "authorization_code", "refresh_token", "revoked_token", "pushed_request", "seen_jti",
    "dpop_proof",
)  # fmt: skip
CYCLES = 4
"""A million rows in four times. The first two leave the space that the next ones use again (an index gives its
emptied pages back at the second VACUUM): flat means that the last adds none to the second."""

FEW, WARMED_BY = 1_000, 800
GROWN = ("refresh", "introspection", "code")


async def table_sizes(inst: Installation, *, rows: int) -> dict[str, Any]:
    """Bytes of each table, its partitions and indexes included: empty, full, and swept after each cycle."""
    owner = await asyncpg.connect(inst.postgres.dsn(DATABASE), server_settings={"search_path": "identity"})
    db = await Database.open(inst.settings.identity.dsn, name="bench", command_timeout=60)
    relay = await Database.open(inst.settings.identity.relay_dsn, name="bench-sweeps", command_timeout=60)
    now = datetime.now(UTC)
    try:
        before, swept, full = await _sizes(owner), list[dict[str, int]](), dict[str, int]()
        for _ in range(CYCLES):
            await fill(owner, rows // CYCLES, now, living=timedelta(hours=1))
            full = await _sizes(owner)
            # Four days by quarters of an hour: every bucket of every width comes to rest.
            for _ in range(4 * 96):
                now += timedelta(minutes=15)
                await empty_what_rests(relay, now)
            # Then three weeks by days, for the buckets of a week.
            for _ in range(21):
                now += timedelta(days=1)
                await empty_what_rests(relay, now)
            await sweep(db, relay, inst.keys, now)
            for minutes in range(0, 60, 5):
                async with relay.across_caisses() as tx:
                    await forget_old_proofs(tx, now + timedelta(minutes=minutes))
            await owner.execute(f"VACUUM {', '.join(TABLES)}")
            swept.append(await _sizes(owner))
    finally:
        await relay.close()
        await db.close()
        await owner.close()
    return {
        "rows_of_each_table": rows,
        "cycles": CYCLES,
        "kilobytes": {
            table: {
                "empty": before[table] // 1024,
                "full": full[table] // 1024,
                "swept": [one[table] // 1024 for one in swept],
            }
            for table in TABLES
        },
        "grown_since_the_second_cycle": [t for t in TABLES if swept[-1][t] > swept[1][t] * 9 / 8],
    }


async def fill(owner: "asyncpg.Connection[Any]", rows: int, now: datetime, *, living: timedelta) -> None:
    """`rows` of each table, as `rows` code flows with PAR, DPoP and a revocation would leave them."""
    minute, end = now + timedelta(minutes=1), now + living
    series = f"generate_series(1, {rows})"
    await owner.execute(
        f"""
        INSERT INTO authorization_grant (caisse, id, client_id, person_id, session_id, granted, created_at, expires_at,
                                         bucket)
        SELECT $1, gen_random_uuid(), 'grown', gen_random_uuid(), gen_random_uuid(),
               '{{"scopes": ["openid"], "resources": [], "auth_time": 0, "acr": "pwd", "amr": ["pwd"],
                 "subject": "per_0"}}', $2, $3, $4
          FROM {series}
        """,
        CAISSE, now, end, bucket_of("authorization_grant", end),
    )  # fmt: skip
    statements: dict[str, tuple[str, tuple[object, ...]]] = {
        "refresh_token": (
            "(caisse, token_hash, grant_id, issued_at, expires_at, bucket) "
            "SELECT $1, sha256(gen_random_uuid()::text::bytea), gen_random_uuid(), $2, $3, $4",
            (now, end, bucket_of("refresh_token", end)),
        ),
        "authorization_code": (
            "(caisse, code_hash, grant_id, redirect_uri, expires_at, bucket) "
            "SELECT $1, sha256(gen_random_uuid()::text::bytea), gen_random_uuid(), 'https://client.example/cb', $2, $3",
            (minute, bucket_of("authorization_code", minute)),
        ),
        "revoked_token": (
            "(caisse, jti, expires_at, bucket) SELECT $1, gen_random_uuid()::text, $2, $3",
            (minute, bucket_of("revoked_token", minute)),
        ),
        "pushed_request": (
            "(caisse, handle_hash, client_id, request, expires_at, bucket) "
            "SELECT $1, sha256(gen_random_uuid()::text::bytea), 'grown', '{}', $2, $3",
            (minute, bucket_of("pushed_request", minute)),
        ),
        "seen_jti": (
            "(caisse, bucket, kind, party, jti, expires_at) "
            "SELECT $1, $3, 'assertion', 'grown', gen_random_uuid()::text, $2",
            (minute, int(minute.timestamp()) // 900 % 4),
        ),
    }
    for table, (said, values) in statements.items():
        await owner.execute(f"INSERT INTO {table} {said} FROM {series}", CAISSE, *values)
    slot = int(now.timestamp()) // 300 % 4
    await owner.execute(
        f"INSERT INTO dpop_proof (slot, memory_key) SELECT $1, sha256(gen_random_uuid()::text::bytea) FROM {series}",
        slot,
    )


async def _sizes(owner: "asyncpg.Connection[Any]") -> dict[str, int]:
    return {
        table: await owner.fetchval(
            "SELECT sum(pg_total_relation_size(part))::bigint FROM (SELECT $1::text::regclass::oid UNION ALL "
            "SELECT inhrelid FROM pg_inherits WHERE inhparent = $1::text::regclass) AS t (part)",
            table,
        )
        for table in TABLES
    }


async def grown_costs(
    small: tuple[Measured, Installation], large: tuple[Measured, Installation], *, rows: int, rounds: int,
    seconds: float,
) -> dict[str, Any]:  # fmt: skip
    """CPU of identity and of PostgreSQL: a thousand living rows of each kind against `rows`, in the same rounds."""
    for (_, inst), count in ((small, FEW), (large, rows)):
        owner = await asyncpg.connect(
            inst.postgres.dsn(DATABASE), server_settings={"search_path": "identity"}
        )
        try:
            # As long as a session's grant: the rows of the client that is measured are in the same bucket.
            await fill(owner, count, datetime.now(UTC), living=SESSION_GRANT_LIFE)
            await owner.execute("VACUUM ANALYZE")
            await owner.execute("CHECKPOINT")
        finally:
            await owner.close()
    found: dict[str, Any] = {"rows": rows, "few": FEW}
    for name in GROWN:
        windows: dict[str, list[tuple[float, float]]] = {"few": [], "many": []}
        for turn in range(rounds + 1):
            for which, (measured, _inst) in (("few", small), ("many", large)):
                count = int(seconds * 600) if turn else WARMED_BY
                windows[which].append(await _costs(measured, name, count))
        # The first round warms: connections, their prepared statements, pages.
        own = {which: spread([one for one, _ in values[1:]], 0) for which, values in windows.items()}
        total = {which: spread([sum(one) for one in values[1:]], 0) for which, values in windows.items()}
        found[name] = {
            "identity_us_few": own["few"],
            "identity_us_many": own["many"],
            "with_postgres_us_few": total["few"],
            "with_postgres_us_many": total["many"],
            "many_over_few": round(total["many"]["median"] / total["few"]["median"], 3),
        }
    return found


async def _costs(measured: Measured, operation: str, count: int) -> tuple[float, float]:
    window = await one_window(measured, await OPERATIONS[operation](measured.party, count), 8)
    return window["cpu_us"], window["database_cpu_us"]

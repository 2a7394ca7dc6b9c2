"""Numbered SQL, applied once, in order, by the schema's owner.

A file is `NNNN_pre_name.sql` (runs before the new code serves) or
`NNNN_post_name.sql` (after the old code has gone). Each runs in its own
transaction, under one advisory lock, with a short lock timeout so that a
migration waits rather than the service. A file that changed after it was
applied stops everything: history is not rewritten.
"""

import hashlib
import re
from pathlib import Path
from typing import NamedTuple

import asyncpg

FILE_NAME = re.compile(r"(?P<number>[0-9]{4})_(?P<phase>pre|post)_(?P<name>[a-z0-9_]+)\.sql")
PRELUDE = Path(__file__).with_name("prelude.sql")
LEDGER = """
CREATE TABLE IF NOT EXISTS schema_migration (
    number text PRIMARY KEY, name text NOT NULL, sha256 bytea NOT NULL, applied_at timestamptz NOT NULL DEFAULT now()
)
"""


class MigrationRefused(Exception):
    """The directory and the ledger disagree; the message says where and what to do."""


class Migration(NamedTuple):
    number: str
    phase: str
    name: str
    sql: str

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(self.sql.encode()).digest()


def read_migrations(directory: Path) -> list[Migration]:
    """The migrations of a directory in order. Raises `MigrationRefused` on a misnamed or doubled file."""
    found: dict[str, Migration] = {}
    for path in sorted(directory.glob("*.sql")):
        match = FILE_NAME.fullmatch(path.name)
        if match is None:
            raise MigrationRefused(
                f"{path.name}: a migration is named NNNN_pre_name.sql or NNNN_post_name.sql"
            )
        if match["number"] in found:
            raise MigrationRefused(
                f"{path.name}: number {match['number']} is taken; give it the next free one"
            )
        found[match["number"]] = Migration(
            match["number"], match["phase"], match["name"], path.read_text("utf-8")
        )
    return list(found.values())


async def migrate(owner_dsn: str, directory: Path, *, phase: str | None = None) -> list[str]:
    """Apply what is missing, `phase` "pre", "post" or both; the names applied, oldest first.

    Runs twice without effect, and from several machines at once: the advisory
    lock lets one work while the others wait and then find nothing to do.
    """
    wanted = read_migrations(directory)
    connection = await asyncpg.connect(owner_dsn)
    try:
        await connection.execute("SELECT pg_advisory_lock(hashtext('espace.migrate.' || current_schema()))")
        await connection.execute(
            "SET lock_timeout = '2s'; SET client_min_messages = 'warning'; SET espace.migrating = 'on'"
        )
        await _lay_the_ground(connection)
        return [m.name for m in wanted if await _apply(connection, m, phase)]
    finally:
        await connection.close()


async def _lay_the_ground(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    await connection.execute(LEDGER)
    prelude = Migration("0000", "pre", "prelude", PRELUDE.read_text("utf-8"))
    known = await connection.fetchval("SELECT sha256 FROM schema_migration WHERE number = '0000'")
    if known == prelude.digest:
        return
    async with connection.transaction():
        await connection.execute(prelude.sql)
        await connection.execute(
            "INSERT INTO schema_migration (number, name, sha256) VALUES ('0000', 'prelude', $1) "
            "ON CONFLICT (number) DO UPDATE SET sha256 = excluded.sha256, applied_at = now()",
            prelude.digest,
        )


async def _apply(
    connection: "asyncpg.Connection[asyncpg.Record]", migration: Migration, phase: str | None
) -> bool:
    known = await connection.fetchval(
        "SELECT sha256 FROM schema_migration WHERE number = $1", migration.number
    )
    if known is not None:
        if known != migration.digest:
            raise MigrationRefused(
                f"{migration.number}_{migration.name} changed after it was applied: "
                "restore the file and put the change in a new migration"
            )
        return False
    if phase is not None and migration.phase != phase:
        return False
    async with connection.transaction():
        try:
            await connection.execute(migration.sql)
        except asyncpg.PostgresError as error:
            raise MigrationRefused(
                f"{migration.number}_{migration.name}: {error}; nothing of it was kept"
            ) from error
        await connection.execute(
            "INSERT INTO schema_migration (number, name, sha256) VALUES ($1, $2, $3)",
            migration.number,
            migration.name,
            migration.digest,
        )
    return True

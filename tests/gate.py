"""A place inside a transaction where a process waits until a test has killed it there."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

GATE = 424242
Owner = asyncpg.Connection  # type: ignore[type-arg]


@asynccontextmanager
async def gate(owner_dsn: str, table: str, *, when: str = "", at_commit: bool = False) -> AsyncIterator[Any]:
    """While the block runs, whoever writes a row of `table` (for which `when` holds) waits inside its transaction.

    At the write itself or, `at_commit`, once everything is written and only the commit is left.
    """
    owner = await asyncpg.connect(owner_dsn)
    kind = "CONSTRAINT TRIGGER" if at_commit else "TRIGGER"
    late = "DEFERRABLE INITIALLY DEFERRED" if at_commit else ""
    try:
        await owner.execute("SELECT pg_advisory_lock($1)", GATE)
        await owner.execute(
            f"""
            CREATE OR REPLACE FUNCTION wait_at_gate() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN PERFORM pg_advisory_xact_lock({GATE}); RETURN NEW; END $$;
            CREATE {kind} gate AFTER INSERT OR UPDATE ON {table} {late} FOR EACH ROW
                {f"WHEN ({when})" if when else ""} EXECUTE FUNCTION wait_at_gate();
            """
        )
        yield owner
    finally:
        await owner.execute("SELECT pg_advisory_unlock($1)", GATE)
        await owner.execute(f"DROP TRIGGER gate ON {table}")
        await owner.close()


async def somebody_waits(owner: Any) -> None:
    """Returns once a process stands at the gate."""
    async with asyncio.timeout(30):
        while not await owner.fetchval(  # noqa: ASYNC110
            "SELECT true FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        ):
            await asyncio.sleep(0.02)

"""A use case whose connection is killed before each of its statements in turn, then asked again."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from libs.common.database.pool import Database
from libs.common.database.transaction import DatabaseUnavailable, Row, Tx
from libs.common.values.caisse_slug import CaisseSlug


class Dying(Database):
    """A real database whose server process is killed just before the `nth` statement, over all transactions."""

    def __init__(self, real: Database, nth: int) -> None:
        super().__init__(real._connections, real._size)  # pyright: ignore[reportPrivateUsage]
        self.nth, self.count = nth, 0

    @asynccontextmanager
    async def transaction(self, caisse: CaisseSlug) -> AsyncGenerator[Tx, None]:
        async with super().transaction(caisse) as tx:
            yield DyingTx(tx, self)

    async def tick(self, tx: Tx) -> None:
        self.count += 1
        if self.count == self.nth:
            await Tx.execute(tx, "SELECT pg_terminate_backend(pg_backend_pid())")


class DyingTx(Tx):
    """One of its transactions."""

    __slots__ = ("whole",)

    def __init__(self, tx: Tx, whole: Dying) -> None:
        super().__init__(tx._connection, tx.caisse)  # pyright: ignore[reportPrivateUsage]
        self.whole = whole

    async def fetch(self, sql: str, *args: object) -> list[Row]:
        await self.whole.tick(self)
        return await super().fetch(sql, *args)

    async def fetchrow(self, sql: str, *args: object) -> Row | None:
        await self.whole.tick(self)
        return await super().fetchrow(sql, *args)

    async def fetchval(self, sql: str, *args: object) -> Any:
        await self.whole.tick(self)
        return await super().fetchval(sql, *args)

    async def execute(self, sql: str, *args: object) -> int:
        await self.whole.tick(self)
        return await super().execute(sql, *args)

    async def executemany(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        await self.whole.tick(self)
        await super().executemany(sql, rows)


class Scene(NamedTuple):
    """Everything is ready: `act` may be asked of a dying database, then of a living one."""

    caisse: CaisseSlug
    act: Callable[[Database], Awaitable[object]]


async def killed_everywhere(
    db: Database, scene: Callable[[], Awaitable[Scene]], tables: Sequence[str]
) -> int:
    """How many places there were to die. At each, `tables` kept nothing, and asking again came to the end."""
    places = 0
    while True:
        ready = await scene()
        before = await rows_of(db, ready.caisse, tables)
        try:
            await ready.act(Dying(db, places + 1))
            assert await rows_of(db, ready.caisse, tables) != before
            return places
        except DatabaseUnavailable:
            places += 1
        assert await rows_of(db, ready.caisse, tables) == before, f"something stayed of statement {places}"
        await ready.act(db)
        assert await rows_of(db, ready.caisse, tables) != before


async def rows_of(db: Database, caisse: CaisseSlug, tables: Sequence[str]) -> dict[str, list[str]]:
    """Every row of these tables that the caisse sees, as text."""
    async with db.transaction(caisse) as tx:
        return {
            table: [row[0] for row in await tx.fetch(f"SELECT t::text FROM {table} AS t ORDER BY 1")]
            for table in tables
        }

"""PostgreSQL for the floor: eight kept connections, every statement prepared once on each."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

SIZE = 10
"""As many as Espace's own pool."""


class Prepared:
    """One connection and its prepared statements, by their text."""

    def __init__(self, connection: "asyncpg.Connection[Any]") -> None:
        self.connection = connection
        self._statements: dict[str, Any] = {}

    async def fetchrow(self, sql: str, *args: object) -> Any:
        statement = self._statements.get(sql)
        if statement is None:
            statement = self._statements[sql] = await self.connection.prepare(sql)
        return await statement.fetchrow(*args)


class Connections:
    """The last one given back is the next one taken: its caches are warm."""

    def __init__(self, every: list[Prepared]) -> None:
        self._every = every
        self._idle: asyncio.LifoQueue[Prepared] = asyncio.LifoQueue()
        for one in every:
            self._idle.put_nowait(one)

    @classmethod
    async def open(cls, dsn: str) -> "Connections":
        return cls([Prepared(await asyncpg.connect(dsn)) for _ in range(SIZE)])

    async def close(self) -> None:
        for one in self._every:
            await one.connection.close()

    async def one(self, sql: str, *args: object) -> Any:
        """The row of one statement, by itself."""
        taken = await self._idle.get()
        try:
            return await taken.fetchrow(sql, *args)
        finally:
            self._idle.put_nowait(taken)

    @asynccontextmanager
    async def transaction(self, opening: str) -> AsyncIterator[Prepared]:
        """`opening` begins it. An error closes the connection for good: the window that met it is void."""
        taken = await self._idle.get()
        await taken.connection.execute(opening)
        yield taken
        await taken.connection.execute("COMMIT")
        self._idle.put_nowait(taken)

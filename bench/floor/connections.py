"""PostgreSQL for the floor: ten kept connections, every statement prepared once on each."""

import asyncio
from typing import Any

import asyncpg

SIZE = 10
"""As many as Espace's own pool."""

AS_ESPACE = {"plan_cache_mode": "force_generic_plan"}
"""Espace's own pool keeps its plans too: to plan one of these joins anew takes longer than to run it."""


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
        return cls([Prepared(await asyncpg.connect(dsn, server_settings=AS_ESPACE)) for _ in range(SIZE)])

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

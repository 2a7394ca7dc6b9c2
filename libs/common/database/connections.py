"""asyncpg's pool, with a few connections that nobody waits for kept at hand.

To give a connection back to the pool costs a task of the event loop, to take it again a lock and a timer: together
a tenth of what a message to PostgreSQL costs this process (docs/decisions/0004). Whoever waits comes first: while
one does, every connection goes back through the pool, which serves in order of arrival.
"""

import asyncio
from contextlib import suppress
from typing import TypeAlias

import asyncpg
from asyncpg.exceptions import InternalClientError
from asyncpg.pool import PoolConnectionProxy

from libs.common.database.transaction import LOST_CONNECTION, DatabaseUnavailable

ACQUIRE_TIMEOUT = 1.0
"""Seconds one waits for a connection before the caller is told to come back."""

AT_HAND = 4
"""Connections kept out of the pool at most: the others are closed by it when a rush is over (300 s)."""

Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"


class Taken:
    """One connection for the length of a block; an exception leaves it to the pool, which cleans or replaces it."""

    __slots__ = ("_connection", "_connections")

    def __init__(self, connections: "Connections") -> None:
        self._connections = connections

    async def __aenter__(self) -> Connection:
        self._connection = await self._connections.take()
        return self._connection

    async def __aexit__(self, failed: type[BaseException] | None, *_: object) -> None:
        await self._connections.give_back(self._connection, clean=failed is None)


class Connections:
    """Taken for one transaction or message each, and given back."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._pool = pool
        self._at_hand: list[Connection] = []
        self._waiting = 0

    def taken(self) -> Taken:
        return Taken(self)

    async def take(self) -> Connection:
        """One whose transaction is over. Raises `DatabaseUnavailable` when none is to be had in time."""
        while self._at_hand:
            connection = self._at_hand.pop()
            if _is_alive(connection):
                return connection
            await self._let_go(connection)
        self._waiting += 1
        try:
            # Not the pool's own timeout: on Python 3.11 it costs a task of the event loop.
            async with asyncio.timeout(ACQUIRE_TIMEOUT):
                return await self._pool.acquire()
        except (TimeoutError, *LOST_CONNECTION) as error:
            raise DatabaseUnavailable from error
        finally:
            self._waiting -= 1

    async def give_back(self, connection: Connection, *, clean: bool) -> None:
        """`clean`: what was asked has been answered to the end; otherwise the pool sees to what is left of it."""
        if clean and not self._waiting and len(self._at_hand) < AT_HAND and _is_alive(connection):
            self._at_hand.append(connection)
        else:
            await self._let_go(connection)

    async def _let_go(self, connection: Connection) -> None:
        # One that has died meanwhile left the pool by itself, which then refuses to take it back.
        with suppress(InternalClientError):
            await self._pool.release(connection)

    async def close(self) -> None:
        """End them all, those in use once they are given back, for five seconds at most."""
        while self._at_hand:
            await self._let_go(self._at_hand.pop())
        try:
            await asyncio.wait_for(self._pool.close(), timeout=5)
        except TimeoutError:
            self._pool.terminate()


def _is_alive(connection: Connection) -> bool:
    try:
        return not connection.is_closed()
    except asyncpg.InterfaceError:
        # One that died has left the pool, which then refuses even to speak of it.
        return False

"""The only door to PostgreSQL: bounded waits, and a tenant on every transaction."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import asyncpg

from libs.common.database.connections import ACQUIRE_TIMEOUT, Connection, Connections
from libs.common.database.gathering import Arguments, Gathering, Kind
from libs.common.database.held import transaction_held
from libs.common.database.one_statement import OneStatement, Verb
from libs.common.database.transaction import LOST_CONNECTION, DatabaseUnavailable, Row, Tx, asking
from libs.common.values.caisse_slug import CaisseSlug, parse_caisse_slug

Found = TypeVar("Found")

COMMAND_TIMEOUT = 2.0
"""Seconds a statement may take: a half-open connection then fails instead of hanging for ever."""

IDLE_IN_TRANSACTION = "10s"
"""How long PostgreSQL lets a transaction stand between two statements: a machine that is frozen, or lost without a
word, keeps no row from the others for longer. None of ours waits so long for anything else.
"""

PATIENT, IMPATIENT = "0", "50ms"
"""How long a write waits for a row that another transaction has written: its statement's time, or hardly.

A message of several writes the rows of each caller in turn, so two processes may hold what the other awaits.
PostgreSQL looks for that after a second, and whoever shows one proof twice could stop all others for as long:
the message gives up first, and each of its callers goes on without the others.
"""


async def _nothing_to_undo(_: "asyncpg.Connection[asyncpg.Record]") -> None:
    """What a returned connection needs besides the rollback that the pool does first when a transaction is open.

    Settings are local to a transaction, and `listening` ends what it began: asyncpg's own
    four statements (RESET ALL …) would be one round trip more for every transaction.
    """


class Database:
    """A bounded pool of connections of one role on one service's schema."""

    def __init__(self, connections: Connections, size: int) -> None:
        self._connections = connections
        self._size = size
        self._reads = Gathering(self._read_together)
        self._writes = Gathering(self._write_together)
        self._apart = asyncio.Semaphore(max(1, size // 2))

    @classmethod
    async def open(
        cls,
        dsn: str,
        *,
        name: str,
        min_size: int = 1,
        max_size: int = 10,
        command_timeout: float = COMMAND_TIMEOUT,
        keeps_plans: bool = False,
    ) -> "Database":
        """Connect as the role named in `dsn`; its search_path and settings come from the role itself.

        `keeps_plans`: each statement is planned once a connection, whatever its parameters. PostgreSQL
        counts every partition in such a plan, although it opens one, and would plan anew each time.
        Raises `DatabaseUnavailable` when PostgreSQL does not answer.
        """
        try:
            pool = await asyncpg.create_pool(
                dsn,
                min_size=min_size,
                max_size=max_size,
                command_timeout=command_timeout,
                timeout=5,
                server_settings={
                    "application_name": name,
                    "timezone": "UTC",
                    "plan_cache_mode": "force_generic_plan" if keeps_plans else "auto",
                    "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION,
                },
                reset=_nothing_to_undo,
            )
        except LOST_CONNECTION as error:
            raise DatabaseUnavailable from error
        return cls(Connections(pool), max_size)

    async def close(self) -> None:
        await self._connections.close()

    async def answers(self) -> bool:
        """For a health check. Raises `DatabaseUnavailable`."""
        async with self.across_caisses() as tx:
            return bool(await tx.fetchval("SELECT true"))

    @asynccontextmanager
    async def transaction(self, caisse: CaisseSlug) -> AsyncGenerator[Tx, None]:
        """A transaction that sees the rows of `caisse` and no others.

        Commits when the block ends, rolls back when it raises. The setting is
        local to the transaction: a reused connection never inherits it.
        """
        # The slug is checked again: SET takes no parameter, and a forged
        # NewType must not become SQL.
        opening = f"BEGIN; SET LOCAL espace.caisse = '{parse_caisse_slug(caisse)}'"
        async with self._begun(opening, caisse) as tx:
            yield tx

    def one_statement(self, caisse: CaisseSlug) -> OneStatement:
        """For a read by itself: the same rows as in `transaction(caisse)`, by one message instead of three."""
        return OneStatement(self._read_alone, self._reads.ask, caisse)

    async def write_alone(self, caisse: CaisseSlug, sql: str, args: Arguments, *, shares: bool) -> None:
        """One statement of one row, whole or not at all, that sets `caisse` (`set_config('espace.caisse', …, true)`)
        and, by one parameter after `args`, how long it waits for a row (`set_config('lock_timeout', …, true)`).

        `shares`: by one commit with those of its kind that others ask for meanwhile. Not for one that
        changes a row which many change: two messages that took two such rows in turn would wait for each
        other; it goes by itself, on half of the connections at most. Never sent twice: a connection lost
        under way raises `DatabaseUnavailable`, and the caller's key decides whether its retry was the first.
        """
        if shares:
            await self._writes.ask(Kind(sql, caisse), args)
        else:
            await self._write_apart(sql, args)

    async def _write_apart(self, sql: str, args: Arguments) -> None:
        # Those who change one row wait for each other there: more of them would only hold the connections of others.
        try:
            async with asyncio.timeout(ACQUIRE_TIMEOUT):
                await self._apart.acquire()
        except TimeoutError as error:
            raise DatabaseUnavailable from error
        try:
            await self._write_together(sql, [args])
        finally:
            self._apart.release()

    async def _write_together(self, sql: str, callers: Sequence[Arguments]) -> list[Row]:
        wait = PATIENT if len(callers) == 1 else IMPATIENT
        return await self._send(sql, [(*args, wait) for args in callers])

    async def _send(self, sql: str, callers: Sequence[Arguments]) -> list[Row]:
        """The same statement with the arguments of each caller, by one message and in one transaction."""
        async with self._connections.taken() as connection:
            with asking(connection):
                if len(callers) == 1:
                    row = await connection.fetchrow(sql, *callers[0])
                    return [] if row is None else [row]
                return await connection.fetchmany(sql, callers)

    async def _read_together(self, sql: str, callers: Sequence[Arguments]) -> list[Row]:
        return await self._read(lambda: self._send(sql, callers))

    async def _read_alone(self, verb: Verb, sql: str, args: Arguments) -> Any:
        async def once() -> Any:
            async with self._connections.taken() as connection:
                with asking(connection):
                    return await getattr(connection, verb)(sql, *args)

        return await self._read(once)

    async def _read(self, once: Callable[[], Awaitable[Found]]) -> Found:
        # As in `_begin`: every pooled connection may be dead, and reading twice changes nothing.
        for attempt in range(self._size + 1):
            try:
                return await once()
            except DatabaseUnavailable as error:
                if attempt == self._size or isinstance(error.__cause__, TimeoutError):
                    raise
                await asyncio.sleep(0.02)
        raise DatabaseUnavailable

    @asynccontextmanager
    async def across_caisses(self) -> AsyncGenerator[Tx, None]:
        """A transaction without a tenant: platform-wide tables, and what the relay role may sweep."""
        async with self._begun("BEGIN", None) as tx:
            yield tx

    @asynccontextmanager
    async def _begun(self, opening: str, caisse: CaisseSlug | None) -> AsyncGenerator[Tx, None]:
        connection = await self._begin(opening)
        committed, tx = False, Tx(connection, caisse)
        try:
            try:
                with transaction_held():
                    yield tx
            except BaseException:
                await self._give_up(connection)
                raise
            try:
                await connection.execute("COMMIT")
            except (TimeoutError, *LOST_CONNECTION) as error:
                raise DatabaseUnavailable from error
            committed = True
        finally:
            await self._connections.give_back(connection, clean=committed)
        for step in tx.afterwards:
            await step(self)

    async def _begin(self, opening: str) -> Connection:
        # After a restart every pooled connection may be dead, so one retry more
        # than the pool is large. Opening a transaction twice changes nothing.
        for attempt in range(self._size + 1):
            try:
                connection = await self._connections.take()
            except DatabaseUnavailable as error:
                if attempt == self._size or isinstance(error.__cause__, TimeoutError):
                    raise
                await asyncio.sleep(0.02)
                continue
            try:
                await connection.execute(opening)
            except (TimeoutError, *LOST_CONNECTION) as error:
                await self._connections.give_back(connection, clean=False)
                if attempt == self._size or isinstance(error, TimeoutError):
                    raise DatabaseUnavailable from error
                continue
            except BaseException:
                await self._connections.give_back(connection, clean=False)
                raise
            return connection
        raise DatabaseUnavailable

    async def _give_up(self, connection: Connection) -> None:
        try:
            if not connection.is_closed():
                await connection.execute("ROLLBACK")
        except (TimeoutError, *LOST_CONNECTION):
            # A connection that died has already left the pool, which then refuses even to end it.
            with suppress(asyncpg.InterfaceError):
                connection.terminate()

    @asynccontextmanager
    async def listening(self, channel: str, wake: asyncio.Event) -> AsyncGenerator[asyncio.Event, None]:
        """Set `wake` at each NOTIFY on `channel` while the block runs; what it yields is set by a lost connection."""
        lost = asyncio.Event()

        def heard(*_: object) -> None:
            wake.set()

        def gone(*_: object) -> None:
            lost.set()

        connection = await self._begin("SELECT 1")
        try:
            connection.add_termination_listener(gone)
            await connection.add_listener(channel, heard)
            yield lost
        except LOST_CONNECTION as error:
            raise DatabaseUnavailable from error
        finally:
            if not connection.is_closed():
                connection.remove_termination_listener(gone)
                await connection.remove_listener(channel, heard)
            await self._connections.give_back(connection, clean=False)

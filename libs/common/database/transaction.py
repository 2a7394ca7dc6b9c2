"""What a use case holds while it writes: one open transaction of one caisse."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import asyncpg
from asyncpg.exceptions import InternalClientError
from asyncpg.pool import PoolConnectionProxy

from libs.common.refusals import DomainError
from libs.common.values.caisse_slug import CaisseSlug

LOST_CONNECTION = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,
    InternalClientError,
    OSError,
)
"""What PostgreSQL's client says when the server is gone, or silent (`TimeoutError` is an `OSError`), or
for now cannot: no connection, disk or memory left (class 53), or become a standby (25006).
"""


UNWRITABLE = (asyncpg.CharacterNotInRepertoireError, asyncpg.UntranslatableCharacterError)
"""U+0000 in a text, and in JSON."""


class DatabaseUnavailable(DomainError):
    """PostgreSQL does not answer, or every connection is taken: come back in a moment."""


class RaceLost(Exception):
    """`found_or_lost` ended the statement: the part at `place` found its row taken, and nothing was written."""

    def __init__(self, place: int) -> None:
        super().__init__(place)
        self.place = place


RACE_LOST = "ES001"
"""The SQLSTATE of `found_or_lost`."""


class UnwritableText(DomainError):
    """A text holds U+0000, which PostgreSQL cannot keep and no keyboard types."""


Row = asyncpg.Record


class Tx:
    """An open transaction. Stores read and write through it; they neither commit nor roll back.

    `caisse` is the tenant whose rows row-level security lets through, `None`
    for the relay's sweeps across caisses. Every statement is parametrised with `$n`.
    """

    __slots__ = ("_connection", "afterwards", "caisse")

    def __init__(self, connection: "PoolConnectionProxy[asyncpg.Record]", caisse: CaisseSlug | None) -> None:
        self._connection = connection
        self.caisse = caisse
        self.afterwards: list[Callable[[OpensTransactions], Awaitable[None]]] = []
        """What is done once this is committed, before whoever opened it goes on; never when it is undone, nor by a
        process that dies in between. What it raises does not undo the commit: it answers for itself."""

    @property
    def the_caisse(self) -> CaisseSlug:
        """The tenant of this transaction; an error where there is none, since a row without one is invisible."""
        if self.caisse is None:
            raise RuntimeError("this transaction crosses caisses: it has no tenant to write for")
        return self.caisse

    async def fetch(self, sql: str, *args: object) -> list[Row]:
        with asking(self._connection):
            return await self._connection.fetch(sql, *args)

    async def fetchrow(self, sql: str, *args: object) -> Row | None:
        with asking(self._connection):
            return await self._connection.fetchrow(sql, *args)

    async def one_row(self, sql: str, *args: object) -> Row:
        """What a SELECT that always gives exactly one row found."""
        row = await self.fetchrow(sql, *args)
        if row is None:
            raise RuntimeError(f"no row where one was due: {sql}")
        return row

    async def fetchval(self, sql: str, *args: object) -> Any:
        with asking(self._connection):
            return await self._connection.fetchval(sql, *args)

    async def execute(self, sql: str, *args: object) -> int:
        """Run one statement; how many rows it touched."""
        with asking(self._connection):
            tag = await self._connection.execute(sql, *args)
        count = tag.rsplit(" ", 1)[-1]
        return int(count) if count.isdigit() else 0

    async def executemany(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        with asking(self._connection):
            await self._connection.executemany(sql, rows)

    async def copy_records(
        self, table: str, columns: Sequence[str], rows: Iterable[Sequence[object]]
    ) -> None:
        """Stream rows into `table` by COPY. Row-level security refuses COPY: use a temporary table."""
        with asking(self._connection):
            await self._connection.copy_records_to_table(table, columns=list(columns), records=rows)


class asking:
    """A lost or silent server becomes `DatabaseUnavailable` at the statement that met it; NUL, `UnwritableText`;
    a lost race, `RaceLost`.
    """

    __slots__ = ("_connection",)

    def __init__(self, connection: "PoolConnectionProxy[asyncpg.Record]") -> None:
        self._connection = connection

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        if isinstance(error, UNWRITABLE):
            raise UnwritableText from error
        if isinstance(error, asyncpg.PostgresError) and error.sqlstate == RACE_LOST:
            raise RaceLost(int(error.detail or "0")) from error
        if not isinstance(error, LOST_CONNECTION):
            return
        # An InterfaceError on a living connection is a misuse of ours, not an outage.
        if isinstance(error, asyncpg.InterfaceError) and not self._connection.is_closed():
            return
        if isinstance(error, asyncpg.ReadOnlySQLTransactionError):
            # This server serves another now: the next connection finds the primary.
            self._connection.terminate()
        raise DatabaseUnavailable from error


class OpensTransactions(Protocol):
    """What opened a transaction, to a step that follows it (`Tx.afterwards`)."""

    def transaction(self, caisse: CaisseSlug) -> AbstractAsyncContextManager[Tx]: ...

"""One statement of one caisse as one message: its own transaction, its own tenant, no BEGIN and no COMMIT.

Most requests read once. A transaction around one statement costs two messages
more, each some 35 µs of this process and 15 of PostgreSQL (measured on two cores).
"""

from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any, Literal

from libs.common.database.gathering import Kind
from libs.common.database.transaction import Row, Tx
from libs.common.values.caisse_slug import CaisseSlug

Verb = Literal["fetch", "fetchrow", "fetchval"]
Ask = Callable[[Verb, str, tuple[object, ...]], Awaitable[Any]]
Gather = Callable[[Kind, tuple[object, ...]], Awaitable[Row]]


class OneStatement:
    """Reads that see the rows of `caisse` and no others, each by itself; for a store it reads like a `Tx`.

    Two reads of one `OneStatement` are two instants. What must be seen, or
    written, together takes a transaction.
    """

    __slots__ = ("_ask", "_gather", "caisse")

    def __init__(self, ask: Ask, gather: Gather, caisse: CaisseSlug) -> None:
        self._ask = ask
        self._gather = gather
        self.caisse = caisse

    async def fetch(self, sql: str, *args: object) -> list[Row]:
        return await self._ask("fetch", seen_by_the_last(sql, len(args) + 1), (*args, self.caisse))

    async def fetchrow(self, sql: str, *args: object) -> Row | None:
        return await self._ask("fetchrow", seen_by_the_last(sql, len(args) + 1), (*args, self.caisse))

    async def one_row(self, sql: str, *args: object) -> Row:
        """What a SELECT that always gives exactly one row found; asked by many at once, of whatever caisses, it goes
        as one message. The row has one column more, of no meaning.
        """
        return await self._gather(Kind(one_row_seen_by_the_last(sql, len(args) + 1)), (*args, self.caisse))

    async def fetchval(self, sql: str, *args: object) -> Any:
        return await self._ask("fetchval", seen_by_the_last(sql, len(args) + 1), (*args, self.caisse))


Reader = Tx | OneStatement
"""What a store that only reads is handed."""


@lru_cache(maxsize=512)
def seen_by_the_last(sql: str, place: int) -> str:
    """`sql`, a SELECT, as the caisse in parameter `place` sees it.

    PostgreSQL evaluates a LATERAL item for each row of the item it refers to
    (SELECT, "FROM clause"), so the caisse is set before the first row is looked
    at; each OFFSET 0 keeps the planner from merging the two. Were the order
    otherwise, an unset caisse would show nothing. The setting is local to the
    statement's own transaction.
    """
    return f"""
        SELECT found.*
          FROM (SELECT set_config('espace.caisse', ${place}, true) AS caisse OFFSET 0) AS tenant
         CROSS JOIN LATERAL (SELECT asked.* FROM ({sql}) AS asked WHERE tenant.caisse IS NOT NULL OFFSET 0) AS found
        """


@lru_cache(maxsize=512)
def one_row_seen_by_the_last(sql: str, place: int) -> str:
    """The same for a SELECT of exactly one row, which leaves the transaction without a caisse once it has found it.

    What is selected is computed from a row that has been found (SELECT, "Description", steps 1 to 5), so the caisse
    goes last. The next statement of the message, another caisse's perhaps, begins like the first: with none.
    """
    return f"""
        SELECT seen.*, set_config('espace.caisse', '', true) AS nothing_left
          FROM ({seen_by_the_last(sql, place)}) AS seen
        """

"""The same statement asked by several callers at once goes to PostgreSQL as one message.

A message costs this process and PostgreSQL more than the look-up that it carries.
Under load, callers that ask the same thing of the same caisse while others wait for
their answer leave together with the next message; a caller alone waits for nobody.
Measured on one core, eight callers: 36 → 10 µs of this process a read, 56 → 36 of
PostgreSQL (docs/decisions/0004).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from libs.common.database.transaction import DatabaseUnavailable, Row
from libs.common.values.caisse_slug import CaisseSlug

UNDER_WAY = 2
"""Messages of one kind under way at once: a connection that hangs holds half of the callers back, never all."""

CARRIED = 32
"""Callers in one message at most: as many results are held before the first is handed on."""

Arguments = Sequence[object]
Send = Callable[[str, Sequence[Arguments]], Awaitable[list[Row]]]


class Kind(NamedTuple):
    """What may leave together: one text, one caisse. Two caisses never share a message: each statement sets
    its own, and were the order ever otherwise, an unset caisse shows nothing where another one's would.
    """

    sql: str
    caisse: CaisseSlug


class Gathering:
    """Callers of statements that give exactly one row, sent by `send` in one implicit transaction.

    All of a message or nothing of it: when one statement fails, PostgreSQL undoes the others, and each is sent
    again by itself to have an answer of its own. A message whose connection died is not sent again.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._waiting: dict[Kind, list[tuple[Arguments, asyncio.Future[Row]]]] = {}
        self._under_way: dict[Kind, int] = {}
        self._messages: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._waiting) + len(self._under_way)

    async def ask(self, kind: Kind, args: Arguments) -> Row:
        """The one row. Raises what the statement raised, or `DatabaseUnavailable`."""
        answer: asyncio.Future[Row] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(kind, []).append((args, answer))
        under_way = self._under_way.get(kind, 0)
        if under_way < UNDER_WAY:
            self._under_way[kind] = under_way + 1
            message = asyncio.create_task(self._carry(kind))
            self._messages.add(message)
            message.add_done_callback(self._messages.discard)
        return await answer

    async def _carry(self, kind: Kind) -> None:
        """Messages of this kind until nobody waits."""
        while waiting := self._waiting.pop(kind, None):
            # Whoever left before the message did is not in it.
            callers = [caller for caller in waiting if not caller[1].done()]
            if later := callers[CARRIED:]:
                self._waiting[kind] = later
            if now := callers[:CARRIED]:
                await self._one_message(kind, now)
        left = self._under_way.pop(kind) - 1
        if left:
            self._under_way[kind] = left

    async def _one_message(self, kind: Kind, callers: list[tuple[Arguments, asyncio.Future[Row]]]) -> None:
        try:
            rows = await self._send(kind.sql, [args for args, _ in callers])
            if len(rows) != len(callers):
                raise RuntimeError(f"not one row a statement: {kind.sql}")
        except Exception as error:
            if len(callers) > 1 and not isinstance(error, DatabaseUnavailable):
                for caller in callers:
                    await self._one_message(kind, [caller])
                return
            for _, answer in callers:
                if not answer.done():
                    answer.set_exception(error)
            return
        for (_, answer), row in zip(callers, rows, strict=True):
            if not answer.done():
                answer.set_result(row)

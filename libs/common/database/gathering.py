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

PATIENCE = 0.05
"""Seconds after which a message without an answer no longer holds back the next of its kind."""

UNDER_WAY = 2
"""Messages of one kind under way at most, so that a server that hangs does not take every connection."""

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


class Caller(NamedTuple):
    args: Arguments
    answer: asyncio.Future[Row]


class Queue:
    """The callers of one kind: those who wait, and how many messages have left without an answer."""

    __slots__ = ("left_at", "under_way", "waiting")

    def __init__(self) -> None:
        self.waiting: list[Caller] = []
        self.under_way = 0
        self.left_at = 0.0

    def lets_one_leave(self, now: float) -> bool:
        return self.under_way == 0 or (self.under_way < UNDER_WAY and now - self.left_at > PATIENCE)


class Gathering:
    """Callers of statements that give exactly one row, sent by `send` in one implicit transaction.

    All of a message or nothing of it: when one statement fails, PostgreSQL undoes the others, and each half is
    sent again, down to the one that fails: it alone has its error, and costs the 31 others ten messages, not 31.
    A message whose connection died is not sent again.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._queues: dict[Kind, Queue] = {}
        self._messages: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._queues)

    async def ask(self, kind: Kind, args: Arguments) -> Row:
        """The one row. Raises what the statement raised, or `DatabaseUnavailable`."""
        loop = asyncio.get_running_loop()
        queue = self._queues.get(kind)
        if queue is None:
            queue = self._queues[kind] = Queue()
        answer: asyncio.Future[Row] = loop.create_future()
        queue.waiting.append(Caller(args, answer))
        if queue.lets_one_leave(loop.time()):
            queue.under_way += 1
            messages = loop.create_task(self._carry(kind, queue))
            self._messages.add(messages)
            messages.add_done_callback(self._messages.discard)
        return await answer

    async def _carry(self, kind: Kind, queue: Queue) -> None:
        """One message after another until nobody waits."""
        loop = asyncio.get_running_loop()
        callers: list[Caller] = []
        try:
            while queue.waiting:
                # Whoever has gone before the message leaves is not in it.
                callers = [caller for caller in queue.waiting if not caller.answer.done()]
                queue.waiting = callers[CARRIED:]
                queue.left_at = loop.time()
                callers = callers[:CARRIED]
                if callers:
                    await self._one_message(kind, callers)
        except BaseException:
            # Whatever ends a message before its time leaves nobody waiting for it.
            _refuse([*callers, *queue.waiting], DatabaseUnavailable())
            queue.waiting = []
            raise
        finally:
            queue.under_way -= 1
            if not queue.under_way:
                del self._queues[kind]

    async def _one_message(self, kind: Kind, callers: Sequence[Caller]) -> None:
        try:
            rows = await self._send(kind.sql, [caller.args for caller in callers])
            if len(rows) != len(callers):
                raise RuntimeError(f"not one row a statement: {kind.sql}")
        except Exception as error:
            if len(callers) > 1 and not isinstance(error, DatabaseUnavailable):
                half = len(callers) // 2
                await self._one_message(kind, callers[:half])
                await self._one_message(kind, callers[half:])
                return
            _refuse(callers, error)
            return
        for caller, row in zip(callers, rows, strict=True):
            if not caller.answer.done():
                caller.answer.set_result(row)


def _refuse(callers: Sequence[Caller], error: Exception) -> None:
    for caller in callers:
        if not caller.answer.done():
            caller.answer.set_exception(error)

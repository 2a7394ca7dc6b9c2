"""The same statement asked by several callers at once goes to PostgreSQL as one message.

A message costs this process and PostgreSQL more than the look-up that it carries.
Under load, callers that ask the same thing while others wait for their answer leave
together with the next message; a caller alone waits for nobody.
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

LONGEST_WAIT = 3.0
"""Seconds after which whoever still waits for a message to leave is told to come back: those before it hang."""

Arguments = Sequence[object]
Send = Callable[[str, Sequence[Arguments]], Awaitable[list[Row]]]


class Kind(NamedTuple):
    """What may leave together: one text, and one caisse unless each statement leaves none behind it.

    Each sets its own before it looks. Were that order ever otherwise, it must find an unset caisse, which shows
    nothing, and never the caisse of the statement before.
    """

    sql: str
    caisse: CaisseSlug | None = None


class Caller(NamedTuple):
    args: Arguments
    answer: asyncio.Future[Row]
    asked_at: float


class Queue:
    """The callers of one kind: those who wait, and when each message without an answer left."""

    __slots__ = ("under_way", "waiting")

    def __init__(self) -> None:
        self.waiting: list[Caller] = []
        self.under_way: list[float] = []

    def lets_one_leave(self, now: float) -> bool:
        return not self.under_way or (
            len(self.under_way) < UNDER_WAY and now - max(self.under_way) > PATIENCE
        )


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
        now = loop.time()
        queue.waiting.append(Caller(args, answer, now))
        if queue.lets_one_leave(now):
            queue.under_way.append(now)
            messages = loop.create_task(self._carry(kind, queue, now))
            self._messages.add(messages)
            messages.add_done_callback(self._messages.discard)
        try:
            return await answer
        finally:
            # An exception holds this frame by its traceback: what it passes through must not hold the exception.
            del answer

    async def _carry(self, kind: Kind, queue: Queue, left_at: float) -> None:
        """One message after another, until nobody waits or another message is there to take them along."""
        loop = asyncio.get_running_loop()
        callers: list[Caller] = []
        try:
            while True:
                callers = self._who_leaves(queue, loop.time())
                if callers:
                    await self._one_message(kind, callers)
                queue.under_way.remove(left_at)
                left_at = loop.time()
                if not queue.waiting or not queue.lets_one_leave(left_at):
                    return
                queue.under_way.append(left_at)
        except BaseException:
            # Whatever ends a message before its time leaves nobody waiting for it.
            _refuse([*callers, *queue.waiting], DatabaseUnavailable())
            queue.waiting = []
            queue.under_way.remove(left_at)
            raise
        finally:
            if not queue.under_way:
                self._queues.pop(kind, None)

    def _who_leaves(self, queue: Queue, now: float) -> list[Caller]:
        """The first of those who wait. Whoever has gone before the message leaves is not in it."""
        waiting: list[Caller] = []
        for caller in queue.waiting:
            if now - caller.asked_at > LONGEST_WAIT:
                _refuse([caller], DatabaseUnavailable())
            elif not caller.answer.done():
                waiting.append(caller)
        queue.waiting = waiting[CARRIED:]
        return waiting[:CARRIED]

    async def _one_message(self, kind: Kind, callers: Sequence[Caller]) -> None:
        try:
            rows = await self._send(kind.sql, [caller.args for caller in callers])
            if len(rows) != len(callers):
                raise RuntimeError(f"not one row a statement: {kind.sql}")
        except Exception as error:
            if len(callers) == 1 or isinstance(error, DatabaseUnavailable):
                _refuse(callers, error)
                del callers
                return
            half = len(callers) // 2
            for part in (callers[:half], callers[half:]):
                if left := [caller for caller in part if not caller.answer.done()]:
                    await self._one_message(kind, left)
            return
        for caller, row in zip(callers, rows, strict=True):
            if not caller.answer.done():
                caller.answer.set_result(row)


def _refuse(callers: Sequence[Caller], error: Exception) -> None:
    for caller in callers:
        if not caller.answer.done():
            caller.answer.set_exception(error)

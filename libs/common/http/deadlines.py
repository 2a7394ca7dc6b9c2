"""No request lives for ever: a bounded body, and a bounded time to read and to answer."""

import asyncio
from types import TracebackType
from typing import Any

from litestar import Request, Response
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, HTTPReceiveMessage, Message, Receive, Scope, Send, WebSocketReceiveMessage

from libs.common.http.json_bodies import StrictRequest
from libs.common.http.problems import Problem, answer

BODY_SECONDS = 10.0
ANSWER_SECONDS = 30.0
TICK = 0.5
"""Seconds between two looks at the tasks that share a deadline."""

TOO_LONG = Problem(503, "timeout", "La réponse se fait trop attendre.")


class SlowBody(Exception):
    """The client sends its body drop by drop."""


class TooLong(Exception):
    """A handler hangs."""


class SharedDeadline:
    """`seconds`, and up to a `TICK` more, for each of the tasks that enter; one timer looks after all of them.

    A timer of its own costs a task of milliseconds more than it is worth: 5 µs, of the 30 that an answer takes.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        # In the order of their deadlines, since all have the same time.
        self.due: dict[asyncio.Task[Any], float] = {}
        self._watched_in: asyncio.AbstractEventLoop | None = None

    def of_this_task(self) -> "Bounded":
        """A block that ends in `TimeoutError` when it is not over in time. One at a time in a task."""
        return Bounded(self)

    def enter(self, task: "asyncio.Task[Any]") -> None:
        loop = task.get_loop()
        self.due[task] = loop.time() + self._seconds
        if self._watched_in is not loop:
            self._watched_in = loop
            loop.call_later(TICK, self._watch, loop)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        # The next look first: nothing that goes wrong in this one may be the end of all.
        if self.due:
            loop.call_later(TICK, self._watch, loop)
        else:
            self._watched_in = None
        now = loop.time()
        for task, due in list(self.due.items()):
            if due > now:
                break
            del self.due[task]
            task.cancel()


class Bounded:
    """One task inside a shared deadline."""

    __slots__ = ("_cancelled_before", "_deadline", "_task")

    def __init__(self, deadline: SharedDeadline) -> None:
        self._deadline = deadline

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task, self._cancelled_before = task, task.cancelling()
        self._deadline.enter(task)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._deadline.due.pop(self._task, None) is not None:
            return
        # We cancelled it. Whoever else did, too, is obeyed (as `asyncio.timeout` does).
        left = self._task.uncancel()
        if kind is asyncio.CancelledError and left <= self._cancelled_before:
            raise TimeoutError from error


class Deadlines(ASGIMiddleware):
    """Ends a request whose body trickles in, or whose handler hangs."""

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        loop = asyncio.get_running_loop()
        body_due = loop.time() + BODY_SECONDS
        started = False
        whole = False

        async def receive_in_time() -> HTTPReceiveMessage | WebSocketReceiveMessage:
            nonlocal whole
            if whole:
                return await receive()
            try:
                async with asyncio.timeout_at(body_due):
                    message = await receive()
            except TimeoutError as error:
                raise SlowBody from error
            whole = message["type"] != "http.request" or not message.get("more_body", False)
            return message

        async def send_noting(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await next_app(scope, receive_in_time, send_noting)
        except (TimeoutError, SlowBody):
            if started:
                raise
            request = StrictRequest(scope)
            response = on_too_long(request, TooLong()).to_asgi_response(None, request)
            await response(scope, receive, send)


def on_too_long(request: Request[Any, Any, Any], _: TooLong) -> Response[Any]:
    """A page for a person, a problem for a program; and the connection ends with it."""
    response = answer(request, TOO_LONG)
    response.headers["Connection"] = "close"
    return response

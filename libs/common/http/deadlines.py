"""No request lives for ever: a bounded body, and a bounded time to read and to answer."""

import asyncio
from typing import Any

from litestar import Request, Response
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, HTTPReceiveMessage, Message, Receive, Scope, Send, WebSocketReceiveMessage

from libs.common.http.problems import Problem, answer

BODY_SECONDS = 10.0
ANSWER_SECONDS = 30.0
TOO_LONG = Problem(503, "timeout", "La réponse se fait trop attendre.")


class SlowBody(Exception):
    """The client sends its body drop by drop."""


class TooLong(Exception):
    """A handler hangs."""


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
            request: Request[Any, Any, Any] = Request(scope)
            response = on_too_long(request, TooLong()).to_asgi_response(None, request)
            await response(scope, receive, send)


def on_too_long(request: Request[Any, Any, Any], _: TooLong) -> Response[Any]:
    """A page for a person, a problem for a program; and the connection ends with it."""
    response = answer(request, TOO_LONG)
    response.headers["Connection"] = "close"
    return response

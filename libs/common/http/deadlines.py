"""No request lives for ever: a bounded body, and a bounded time to read and to answer."""

import asyncio

from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, HTTPReceiveMessage, Message, Receive, Scope, Send, WebSocketReceiveMessage

BODY_SECONDS = 10.0
ANSWER_SECONDS = 30.0
TOO_SLOW = b'{"type":"urn:espace:problem:timeout","title":"La demande a pris trop de temps.","status":503}'


class SlowBody(Exception):
    """The client sends its body drop by drop."""


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
            await answer_too_slow(send)


async def answer_too_slow(send: Send) -> None:
    """503, and the connection with it."""
    start: Message = {
        "type": "http.response.start",
        "status": 503,
        "headers": [
            (b"content-type", b"application/problem+json"),
            (b"retry-after", b"5"),
            (b"cache-control", b"no-store"),
            (b"connection", b"close"),
        ],
    }
    await send(start)
    await send({"type": "http.response.body", "body": TOO_SLOW, "more_body": False})

"""Thin endpoints: what programs call thousands of times a second, answered before the framework's router.

A thin endpoint is declared with the same `access=` as any route and meets the
same host check, headers, deadlines, bounds and refusals; it is spared what it does
not use (dependencies, response objects, five layers of middleware: some 400 µs a
request, measured on two cores). Whatever it refuses or fails at is told by the
application's own exception handlers, so that there is one way to say no.

    @thin("/{slug}/token", "POST", access="protocol")
    async def token(call: Call) -> Reply: ...
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from litestar import Litestar, Request, Response
from litestar.exceptions import HTTPException, NotFoundException
from litestar.types import Message, Receive, Send

from libs.common.http.deadlines import BODY_SECONDS, SharedDeadline, SlowBody, TooLong
from libs.common.http.encoded import cookies_of
from libs.common.http.head import as_get
from libs.common.http.hosts import host_pattern
from libs.common.http.json_bodies import StrictRequest
from libs.common.http.security_headers import NOT_KEPT, SEE_OTHER, SecurityHeaders

NO_BODY = frozenset({"GET", "HEAD", "OPTIONS"})
Headers = Sequence[tuple[bytes, bytes]]


class Reply(NamedTuple):
    """An answer as it goes on the wire, never a page; the security headers and the length are added on the way out."""

    status: int
    body: bytes
    headers: Headers


class Call:
    """One request to a thin endpoint: `slug` is the caisse its path names, not yet believed."""

    __slots__ = ("_largest_body", "app", "is_whole", "method", "receive", "scope", "slug")

    def __init__(self, app: Litestar, scope: Any, receive: Receive, slug: str, largest_body: int) -> None:
        self.app = app
        self.scope = scope
        scope.setdefault("state", {})
        self.slug = slug
        self.method: str = scope["method"]
        self.receive = receive
        self.is_whole = self.method in NO_BODY
        self._largest_body = largest_body

    def now(self) -> datetime:
        """The application's clock."""
        return self.app.state["clock"]()

    def headers(self, name: bytes) -> list[str]:
        """Every value of the header `name` (lower case), in order."""
        return [value.decode("latin-1") for key, value in self.scope["headers"] if key == name]

    def header(self, name: bytes) -> str | None:
        """The first value of the header `name` (lower case)."""
        for key, value in self.scope["headers"]:
            if key == name:
                return value.decode("latin-1")
        return None

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies of this browser, as the router reads them."""
        return cookies_of(value for key, value in self.scope["headers"] if key == b"cookie")

    async def body(self) -> bytes:
        """The whole body. Raises 413 past the service's bound, unread when that is announced; `SlowBody` when it
        trickles.
        """
        # Digits, and few: the server's parser let nothing else through (RFC 9112 §6.3).
        if int(self.header(b"content-length") or 0) > self._largest_body:
            raise HTTPException(status_code=413)
        whole = bytearray()
        while True:
            message: Any = await self.receive()
            if message["type"] == "http.disconnect":
                raise SlowBody
            whole += message.get("body", b"")
            if len(whole) > self._largest_body:
                raise HTTPException(status_code=413)
            if not message.get("more_body", False):
                break
        self.is_whole = True
        return bytes(whole)


Handler = Callable[[Call], Awaitable[Reply | None]]
"""`None` leaves the request to the router's route of the same path, with what it put in `scope["state"]`."""
Tell = Callable[[Request[Any, Any, Any], Exception], Response[Any]]
"""What an application answers for an exception."""


class ThinEndpoint(NamedTuple):
    """One declared endpoint. `path` is as its callers see it, `/{slug}/…`."""

    path: str
    methods: tuple[str, ...]
    access: str
    handle: Handler
    shared: bool = False


def thin(path: str, *methods: str, access: str, shared: bool = False) -> Callable[[Handler], ThinEndpoint]:
    """Declare a thin endpoint under a caisse: `path` begins with `/{slug}/` and names nothing else.

    `shared`: the router has this path too, for the other methods and for what this one leaves to it.
    No guard reads `access` here, so only what checks its caller by itself may be thin: `"protocol"`.
    """
    if not path.startswith("/{slug}/") or "{" in path[8:] or access != "protocol":
        raise ValueError(f"{path}: {access}")

    def declare(handle: Handler) -> ThinEndpoint:
        return ThinEndpoint(path, methods, access, handle, shared)

    return declare


class ThinDoor:
    """Stands before an application's router and answers its thin endpoints; lets every other request through."""

    def __init__(
        self,
        endpoints: Iterable[ThinEndpoint],
        *,
        hosts: Iterable[str],
        security: SecurityHeaders,
        largest_body: int,
        tell: Tell,
    ) -> None:
        self.endpoints = tuple(endpoints)
        self._by_path: dict[str, dict[str, Handler]] = {}
        for one in self.endpoints:
            path = one.path.removeprefix("/{slug}/")
            handlers = self._by_path.setdefault(path, {})
            if one.shared:
                handlers[OTHERS] = _leave_to_the_router
            for method in one.methods:
                handlers[method] = one.handle
        self._host = re.compile(host_pattern(hosts))
        self._security = security
        self._dress = security.of_no_document()
        self._tell_by = tell
        self._largest_body = largest_body
        self.deadline = SharedDeadline(BODY_SECONDS)

    def handlers(self, path: str) -> tuple[str, dict[str, Handler]] | None:
        """The caisse that `path` names and what answers there, by method; `None` when it is the router's."""
        slug, _, rest = path[1:].partition("/")
        if slug and (found := self._by_path.get(rest)) is not None:
            return slug, found
        if "//" in path or path.endswith("/"):
            # The router forgives slashes, and would answer a shared path without what its thin half decides.
            slug, _, rest = "/".join(filter(None, path.split("/"))).partition("/")
            if rest in self._by_path:
                return slug, NOWHERE
        return None

    async def answer(
        self, app: Litestar, slug: str, handlers: dict[str, Handler], scope: Any, receive: Receive, send: Send
    ) -> None:
        """Answer one request; what it raises is told as the router's exceptions are."""
        call = Call(app, scope, receive, slug, self._largest_body)
        try:
            # One deadline for the body and the answer: what is thin answers in milliseconds.
            with self.deadline.of_this_task():
                host = call.header(b"host")
                if host is None or not self._host.fullmatch(host):
                    reply = Reply(400, b'{"message":"invalid host header"}', JSON)
                else:
                    reply = await _chosen(handlers, call.method)(call)
            if reply is None:
                return await Litestar.__call__(app, as_get(scope), receive, send)
        except TimeoutError:
            await self._tell(TooLong() if call.is_whole else SlowBody(), app, call, send)
        except Exception as error:
            await self._tell(error, app, call, send)
        else:
            await self._send(reply, send)

    async def _send(self, reply: Reply, send: Send) -> None:
        length = (b"content-length", b"%d" % len(reply.body))
        kept = ((b"cache-control", NOT_KEPT.encode()),) if reply.status == SEE_OTHER else ()
        start: Any = {
            "type": "http.response.start",
            "status": reply.status,
            "headers": [*reply.headers, length, *kept, *self._dress],
        }
        await send(start)
        await send({"type": "http.response.body", "body": reply.body, "more_body": False})

    async def _tell(self, error: Exception, app: Litestar, call: Call, send: Send) -> None:
        scope = call.scope
        scope["app"] = scope["litestar_app"] = app
        scope.setdefault("path_params", {"slug": call.slug})
        request = StrictRequest(scope)

        async def send_dressed(message: Message) -> None:
            self._security.dress(message, scope)
            await send(message)

        response = self._tell_by(request, error).to_asgi_response(None, request)
        await response(scope, call.receive, send_dressed)


OTHERS = "*"
"""Every method that a shared path does not name."""


async def _leave_to_the_router(_: Call) -> None:
    return None


async def _nowhere(_: Call) -> Reply:
    raise NotFoundException


NOWHERE: dict[str, Handler] = {OTHERS: _nowhere}
"""What answers at an address spelt otherwise than ours."""

JSON: Headers = ((b"content-type", b"application/json"),)


def _chosen(handlers: dict[str, Handler], method: str) -> Handler:
    """The handler of `method`. Raises 405 that says what the address does take (RFC 9110 §15.5.6)."""
    found = handlers.get("GET" if method == "HEAD" else method) or handlers.get(OTHERS)
    if found is not None:
        return found
    allow = ", ".join(sorted({*handlers, "OPTIONS", *(["HEAD"] if "GET" in handlers else [])}))
    if method != "OPTIONS":
        raise HTTPException(status_code=405, headers={"Allow": allow})

    async def options(_: Call) -> Reply:
        return Reply(204, b"", ((b"allow", allow.encode()),))

    return options

"""Every service's HTTP shell: same guard, same headers, same refusals, same health.

A service names its routes and what they need; everything a request meets
before and after them is here, so that no service can forget it.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from litestar import Litestar, Request, Response
from litestar.config.allowed_hosts import AllowedHostsConfig
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.handlers import ASGIRouteHandler, BaseRouteHandler
from litestar.openapi.config import OpenAPIConfig
from litestar.types import BeforeMessageSendHookHandler, ControllerRouterHandler

from libs.common.http import csrf
from libs.common.http.deadlines import Deadlines, SlowBody, TooLong, on_too_long
from libs.common.http.forms import MalformedForm
from libs.common.http.head import as_get, without_content
from libs.common.http.health import Check, live, metrics, ready
from libs.common.http.hosts import believed_hosts
from libs.common.http.json_bodies import StrictRequest, UnreadableBody
from libs.common.http.problems import (
    PROBLEMS,
    Problem,
    answer,
    on_defect,
    on_domain_error,
    on_http_error,
)
from libs.common.http.security_headers import SecurityHeaders, dress_bare_answer
from libs.common.http.thin import ThinDoor, ThinEndpoint
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.refusals import DomainError
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.invalid import InvalidValue

Clock = Callable[[], datetime]
"""The time, as an aware UTC instant. Routes pass it on; tests hold it."""

AccessGuard = Callable[[ASGIConnection[Any, Any, Any, Any], BaseRouteHandler], Awaitable[None]]
"""Reads a handler's `access` and raises unless the caller may pass."""

LARGEST_BODY = 64 * 1024

PROBLEMS[csrf.ForgedForm] = Problem(403, "forged-form", "Ce formulaire n’est plus valable.")
PROBLEMS[MalformedForm] = Problem(400, "malformed-form", "Ce formulaire est incorrect.")
PROBLEMS[UnreadableBody] = Problem(400, "unreadable-body", "La demande n'est pas un JSON lisible, en UTF-8.")


TOO_SLOW = Problem(408, "too-slow", "La demande a mis trop de temps à arriver.")


def utc_now() -> datetime:
    return datetime.now(UTC)


class Application(Litestar):
    """A Litestar application whose thin endpoints are answered before its router."""

    door: ThinDoor

    @property
    def thin(self) -> tuple[ThinEndpoint, ...]:
        return self.door.endpoints

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        if scope["method"] == "HEAD":
            send = without_content(send)
        if (found := self.door.handlers(scope["path"])) is not None:
            await self.door.answer(self, *found, scope, receive, send)
        else:
            await super().__call__(as_get(scope), receive, send)


class RouteWithoutAccess(Exception):
    """A handler does not say who may call it; the service refuses to start."""


def build_application(
    routes: Sequence[ControllerRouterHandler],
    *,
    name: str,
    base: str,
    allowed_hosts: Sequence[str],
    keys: KeyEncryption,
    guards: Sequence[AccessGuard],
    dependencies: Mapping[str, Any],
    lifespan: Sequence[Callable[[Litestar], AbstractAsyncContextManager[None]]] = (),
    readiness: Mapping[str, Check] | None = None,
    problem_page: Callable[[Request[Any, Any, Any], Problem], Response[Any]] | None = None,
    form_actions: Sequence[str] = (),
    clock: Clock = utc_now,
    state: Mapping[str, Any] | None = None,
    openapi: OpenAPIConfig | None = None,
    largest_body: int = LARGEST_BODY,
    signature_types: Sequence[Any] = (),
    before_send: Sequence[BeforeMessageSendHookHandler] = (),
    thin: Sequence[ThinEndpoint] = (),
) -> "Application":
    """The application of one service.

    `base` is the public address from the settings, never a request's Host.
    `guards` read each handler's `access`. `form_actions` are the origins where a
    form may end after redirects. `thin` are answered before the router. Raises `RouteWithoutAccess`.
    """

    async def the_clock() -> Clock:
        return clock

    told = {
        "own_origins": frozenset({"{0.scheme}://{0.netloc}".format(urlsplit(base))}),
        "readiness": dict(readiness or {}),
        **(state or {}),
    }
    hosts = believed_hosts(allowed_hosts, base)
    security = SecurityHeaders(form_actions=form_actions, https=_is_public_https(base))
    app = Application(
        [live, ready, metrics, *routes],
        allowed_hosts=AllowedHostsConfig(allowed_hosts=hosts, www_redirect=False),
        before_request=csrf.refuse_forged_forms,
        before_send=[*before_send, dress_bare_answer],
        dependencies={"clock": Provide(the_clock), **dependencies},
        exception_handlers=TOLD_BY,
        guards=list(guards),
        lifespan=list(lifespan),
        logging_config=None,
        middleware=[security, csrf.RememberBrowser(), Deadlines()],
        openapi_config=openapi,
        request_class=StrictRequest,
        request_max_body_size=largest_body,
        signature_types=[Clock, CaisseSlug, *signature_types],
        state=State({"service": name, "keys": keys, "clock": clock, "problem_page": problem_page, **told}),
        debug=False,
        pdb_on_exception=False,
    )
    app.door = ThinDoor(thin, hosts=hosts, security=security, largest_body=largest_body, tell=tell)
    _refuse_silent_routes(app)
    return app


def _refuse_silent_routes(app: Litestar) -> None:
    for route in app.routes:
        for handler in getattr(route, "route_handlers", [getattr(route, "route_handler", None)]):
            if handler is None or "access" in handler.opt or _is_automatic(handler):
                continue
            raise RouteWithoutAccess(f"{route.path}: say who may call it with access=…")


def _is_automatic(handler: Any) -> bool:
    # Litestar's own OPTIONS answers and its OpenAPI document.
    module = getattr(handler.fn, "__module__", "")
    return module.startswith("litestar.") and not isinstance(handler, ASGIRouteHandler)


def _on_slow_body(request: Request[Any, Any, Any], _: SlowBody) -> Response[Any]:
    # Met while a handler read the body: the sender's doing, neither a defect nor worth a trace.
    response = answer(request, TOO_SLOW)
    # RFC 9110 §15.5.9; and what comes late of this body is no request.
    response.headers["Connection"] = "close"
    return response


def _on_invalid_value(request: Request[Any, Any, Any], error: InvalidValue) -> Response[Any]:
    # A malformed caisse or id in an address names nothing: the same answer as an unknown one.
    return on_http_error(request, HTTPException(status_code=404, detail=type(error).__name__))


TOLD_BY: dict[int | type[Exception], Any] = {
    DomainError: on_domain_error,
    HTTPException: on_http_error,
    InvalidValue: _on_invalid_value,
    SlowBody: _on_slow_body,
    TooLong: on_too_long,
    Exception: on_defect,
}
"""Every exception's way to HTTP; the nearest class in its ancestry counts."""


def tell(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    return next(TOLD_BY[kind] for kind in type(error).__mro__ if kind in TOLD_BY)(request, error)


def _is_public_https(base: str) -> bool:
    # On one's own machine HSTS would push every other http://localhost application to https.
    address = urlsplit(base)
    return address.scheme == "https" and address.hostname not in {"localhost", "127.0.0.1", "::1"}

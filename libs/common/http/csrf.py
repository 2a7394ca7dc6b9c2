"""A form posts back only from the browser it was shown to.

Two independent proofs: the browser's own word on where the request comes from
(`Sec-Fetch-Site`, else `Origin`), and a token bound by HMAC to a cookie of this
browser. The cookie is not the session: forms open in other tabs outlive a
sign-in, and a token stolen from another browser is worth nothing.
"""

import base64
import hmac
import re
import secrets
from typing import Any, Protocol

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import Cookie, MutableScopeHeaders
from litestar.enums import ScopeType
from litestar.handlers import BaseRouteHandler
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from markupsafe import Markup

from libs.common.keys.key_encryption import KeyEncryption
from libs.common.refusals import DomainError

COOKIE = "__Host-espace-browser"
FIELD = "csrf_token"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
PROTECTED_ACCESS = frozenset({"anyone", "session"})
NEW_BROWSER = "espace.new_browser"


class ForgedForm(DomainError):
    """The form was not shown to this browser by us, or its page is too old to tell."""


class Browsing(Protocol):
    """A request as far as its cookies: the router's, or a thin endpoint's."""

    @property
    def cookies(self) -> dict[str, str]: ...
    @property
    def scope(self) -> Any: ...


def _keys(request: ASGIConnection[Any, Any, Any, Any]) -> KeyEncryption:
    # By item: `state.keys` would be the mapping's own method.
    return request.app.state["keys"]


def _browser(request: Browsing) -> str | None:
    value = request.cookies.get(COOKIE, "")
    return value if re.fullmatch(r"[A-Za-z0-9_-]{22}", value) else None


def browser_of(request: Browsing) -> str:
    """This browser's own random name: from its cookie, else drawn now and set on the answer."""
    known = _browser(request) or request.scope["state"].get(NEW_BROWSER)
    if known is None:
        known = secrets.token_urlsafe(16)
        request.scope["state"][NEW_BROWSER] = known
    return known


def token(request: ASGIConnection[Any, Any, Any, Any]) -> str:
    mac = _keys(request).mac("csrf", browser_of(request).encode())
    return base64.urlsafe_b64encode(mac[:24]).decode()


def field(request: ASGIConnection[Any, Any, Any, Any]) -> Markup:
    """The hidden input every form carries."""
    return Markup('<input type="hidden" name="{}" value="{}">').format(FIELD, token(request))


class RememberBrowser(ASGIMiddleware):
    """Sets the browser's cookie on the first answer that needed one."""

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        async def send_with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start" and (drawn := scope["state"].get(NEW_BROWSER)):
                cookie = Cookie(
                    COOKIE,
                    value=drawn,
                    path="/",
                    secure=True,
                    httponly=True,
                    samesite="lax",
                    max_age=400 * 86400,
                )
                headers: Any = MutableScopeHeaders.from_message(message)
                headers.add("Set-Cookie", cookie.to_header(header=""))
            await send(message)

        await next_app(scope, receive, send_with_cookie)


def _protected(handler: BaseRouteHandler) -> bool:
    return handler.opt.get("access") in PROTECTED_ACCESS and handler.opt.get("csrf", True) is not False


def comes_from_us(request: Request[Any, Any, Any], own_origins: frozenset[str]) -> bool:
    """What the browser says of the request's origin; silence is left to the token."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in {"same-origin", "none"}
    origin = request.headers.get("origin")
    return origin is None or origin in own_origins


async def refuse_forged_forms(request: Request[Any, Any, Any]) -> None:
    """Before each unsafe request of a page: raise `ForgedForm` unless both proofs hold."""
    if request.method in SAFE_METHODS or not _protected(request.route_handler):
        return
    if not comes_from_us(request, request.app.state.own_origins) or _browser(request) is None:
        raise ForgedForm
    form = await request.form()
    sent = form.get(FIELD, "")
    if not isinstance(sent, str) or not hmac.compare_digest(sent.encode(), token(request).encode()):
        raise ForgedForm

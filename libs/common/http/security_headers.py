"""What every answer says to the browser, and no cache keeps of a redirect (openid.md §3 line 19, ASVS 3.4)."""

from collections.abc import Iterable
from typing import Any

from litestar.datastructures import MutableScopeHeaders
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send

FORM_ACTIONS = "espace.form_action"

OF_EVERY_ANSWER = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}

FIXED = {
    **OF_EVERY_ANSWER,
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=()",
}

NO_DOCUMENT = "default-src 'none'; frame-ancestors 'none'"
"""The policy of what is no page: it loads nothing, posts nothing, and nobody frames it."""

STRICT_TRANSPORT = "max-age=31536000; includeSubDomains"

SEE_OTHER = 303
NOT_KEPT = "no-store"
"""`Cache-Control` of every 303: its address may hold a code, a state or a handle (openid.md line 19)."""


def page_policy(*form_actions: str) -> str:
    """The Content-Security-Policy of a page: no script, and forms that end here or at one of `form_actions`."""
    targets = " ".join(dict.fromkeys(("'self'", *form_actions)))
    return (
        "default-src 'none'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        f"form-action {targets}; frame-ancestors 'none'; base-uri 'none'"
    )


BARE_POLICY = page_policy()
"""Of an address without a route."""


async def dress_bare_answer(message: Message, scope: Scope) -> None:
    """`before_send` hook: an answer that no middleware saw (an address without a route) has the same headers."""
    if message["type"] != "http.response.start":
        return
    headers: Any = MutableScopeHeaders.from_message(message)
    headers.setdefault("Content-Security-Policy", BARE_POLICY)
    for name, value in FIXED.items():
        headers.setdefault(name, value)
    if message["status"] == SEE_OTHER:
        headers.setdefault("Cache-Control", NOT_KEPT)


def allow_form_action(scope: Scope, origin: str) -> None:
    """Let a form of this page end, after redirects, on `origin`.

    Browsers apply `form-action` to the whole redirect chain of a form, so the
    sign-in page must name the client it leads back to.
    """
    allowed: list[str] = scope["state"].setdefault(FORM_ACTIONS, [])
    allowed.append(origin)


class SecurityHeaders(ASGIMiddleware):
    """Adds the policy to each answer that did not set its own."""

    scopes = (ScopeType.HTTP,)

    def __init__(self, *, form_actions: Iterable[str] = (), https: bool = False) -> None:
        self._form_actions = tuple(form_actions)
        self._https = https

    def _policy(self, scope: Scope) -> str:
        extra: list[str] = scope["state"].get(FORM_ACTIONS, [])
        return page_policy(*self._form_actions, *extra)

    def _headers(self, scope: Scope) -> dict[str, str]:
        return {"Content-Security-Policy": self._policy(scope), **FIXED, **self._strict_transport()}

    def _strict_transport(self) -> dict[str, str]:
        return {"Strict-Transport-Security": STRICT_TRANSPORT} if self._https else {}

    def of_no_document(self) -> list[tuple[bytes, bytes]]:
        """The headers of an answer that is no page, as they go on the wire.

        Windows, cameras and old frames are a document's affair; each header costs an answer 0.6 µs of 30.
        """
        said = {"Content-Security-Policy": NO_DOCUMENT, **OF_EVERY_ANSWER, **self._strict_transport()}
        return [(name.lower().encode(), value.encode()) for name, value in said.items()]

    def dress(self, message: Message, scope: Scope) -> None:
        """Add to an answer's beginning the headers that it did not set itself."""
        if message["type"] != "http.response.start":
            return
        headers: Any = MutableScopeHeaders.from_message(message)
        for name, value in self._headers(scope).items():
            headers.setdefault(name, value)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        async def send_with_headers(message: Message) -> None:
            self.dress(message, scope)
            await send(message)

        await next_app(scope, receive, send_with_headers)

"""HEAD is GET without its content, at every address that answers GET (RFC 9110 §9.1, §9.3.2)."""

from typing import Any

from litestar.types import Message, Send

ASKED = "asked_method"


def as_get(scope: Any) -> Any:
    """The request as the router has a handler for it."""
    return {**scope, "method": "GET", ASKED: "HEAD"} if scope["method"] == "HEAD" else scope


def asked_method(scope: Any) -> str:
    """The method that the caller wrote, and that its proof names (RFC 9449 §4.2)."""
    return scope.get(ASKED, scope["method"])


def without_content(send: Send) -> Send:
    """The headers as they are, their length included, and nothing after them."""

    async def send_headers(message: Message) -> None:
        if message["type"] != "http.response.body":
            await send(message)
        elif not message.get("more_body", False):
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    return send_headers

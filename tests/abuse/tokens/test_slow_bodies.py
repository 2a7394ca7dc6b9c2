"""A body sent drop by drop is the sender's doing: refused in time, and never written down as a defect of ours."""

import asyncio
from typing import Any, cast

import httpx
import pytest

from libs.common.http import deadlines
from tests.openid.party import Issuer


@pytest.mark.parametrize("path", ["/token", "/register", "/par"])
async def test_a_trickling_body_is_refused_in_time(
    issuer: Issuer, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/{issuer.caisse}{path}"
    app: Any = cast(httpx.ASGITransport, issuer.transport).app
    monkeypatch.setattr(deadlines, "BODY_SECONDS", 0.3)
    monkeypatch.setattr(app.door, "deadline", deadlines.SharedDeadline(0.3))
    answered: list[tuple[int, bytes]] = []

    async def drop_by_drop() -> dict[str, Any]:
        await asyncio.sleep(0.05)
        return {"type": "http.request", "body": b"a", "more_body": True}

    async def hear(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            answered.append((message["status"], dict(message["headers"]).get(b"connection", b"")))

    scope: dict[str, Any] = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "https",
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "headers": [(b"host", b"id.example.test"), (b"content-type", b"application/x-www-form-urlencoded")],
        "client": ("203.0.113.9", 4242), "server": ("id.example.test", 443), "state": {},
    }  # fmt: skip
    async with asyncio.timeout(5):
        await app(scope, drop_by_drop, hear)
    assert answered == [(408, b"close")]

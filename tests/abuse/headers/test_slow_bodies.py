"""A body sent drop by drop is the sender's doing: refused in time, and never written down as a defect of ours."""

import asyncio
from typing import Any, cast

import pytest
from litestar import Litestar

from libs.common.http import deadlines
from tests.identity.sign_in.visitors import CAISSE


@pytest.mark.parametrize("path", [f"/{CAISSE}/token", f"/{CAISSE}/register"])
async def test_a_trickling_body_is_refused_in_time(
    app: Litestar, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadlines, "BODY_SECONDS", 0.3)
    answered: list[int] = []

    async def drop_by_drop() -> dict[str, Any]:
        await asyncio.sleep(0.05)
        return {"type": "http.request", "body": b"a", "more_body": True}

    async def hear(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            answered.append(message["status"])

    scope: dict[str, Any] = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "https",
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "headers": [(b"host", b"id.example.test"), (b"content-type", b"application/x-www-form-urlencoded")],
        "client": ("203.0.113.9", 4242), "server": ("id.example.test", 443), "state": {},
    }  # fmt: skip
    async with asyncio.timeout(5):
        await app(cast(Any, scope), cast(Any, drop_by_drop), cast(Any, hear))
    assert answered == [408]

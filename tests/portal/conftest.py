"""The portal, whole, on its real database, with a far side that a test moves."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlencode

import httpx
import pytest
from litestar import Litestar
from msgspec import structs

from libs.common.access.signatures import SigningKey
from libs.common.runtime.settings import Settings
from services.portal.app import create_app
from tests.portal.far_side import FarSide

PORTAL = "https://portal.example.test"


@dataclass
class Visitor:
    """A browser without script: it keeps cookies, follows nothing by itself and posts forms it was shown."""

    app: Litestar
    cookies: dict[str, str] = field(default_factory=dict)

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self._send("GET", path, None, headers)

    async def post(self, path: str, form: dict[str, str], **headers: str) -> httpx.Response:
        return await self._send("POST", path, form, {"sec-fetch-site": "same-origin", **headers})

    async def press(self, page: httpx.Response, action: str, **instead: str) -> httpx.Response:
        """Post the form of `page` whose action is `action`, hidden fields and all; `instead` of theirs, these."""
        found = re.search(rf'<form[^>]*action="{re.escape(action)}".*?</form>', page.text, re.DOTALL)
        assert found, f"no form posts to {action}"
        fields = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', found[0]))
        return await self.post(action, {**fields, **instead})

    async def _send(
        self, method: str, path: str, form: dict[str, str] | None, headers: dict[str, str]
    ) -> Any:
        transport = httpx.ASGITransport(cast(Any, self.app))
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        async with httpx.AsyncClient(transport=transport, base_url=PORTAL) as http:
            answer = await http.request(
                method, path, data=form, headers={"accept": "text/html", "cookie": cookie, **headers}
            )
        for line in answer.headers.get_list("set-cookie"):
            name, value = line.split(";")[0].split("=", 1)
            self.cookies[name] = value.strip('"')
        return answer

    async def sign_in(self, far_side: FarSide, to: str = "/mediterranee") -> httpx.Response:
        """Through identity and back: the answer of the callback."""
        begun = await self.get(f"/mediterranee/sign-in?{urlencode({'to': to})}")
        assert begun.status_code == 303, begun.text
        query = urlencode(far_side.sign_in(begun.headers["location"]))
        return await self.get(f"/mediterranee/callback?{query}")


@pytest.fixture
def far_side() -> FarSide:
    return FarSide()


@pytest.fixture(scope="module")
def portal_settings(settings: Settings) -> Settings:
    section = structs.replace(settings.portal, client_key=SigningKey.generate().pem())
    return structs.replace(settings, portal=section)


@pytest.fixture
async def portal_app(portal_settings: Settings, far_side: FarSide) -> AsyncIterator[Litestar]:
    app = create_app(portal_settings, http=far_side.client())
    started, done = asyncio.Event(), asyncio.Event()

    # One task enters and leaves the lifespan: a fixture is resumed in another one.
    async def live() -> None:
        async with app.lifespan():
            started.set()
            await done.wait()

    living = asyncio.create_task(live())
    await asyncio.wait({living, asyncio.create_task(started.wait())}, return_when=asyncio.FIRST_COMPLETED)
    yield app
    done.set()
    await living


@pytest.fixture
def visitor(portal_app: Litestar) -> Visitor:
    return Visitor(portal_app)

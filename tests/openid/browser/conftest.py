"""A page on loopback that holds a browser app, and Chromium in front of it; nothing of its checks is off."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from tests.browser import ROOT, chromium
from tests.openid.running import RunningEspace

HERE = Path(__file__).parent
LIBRARY = ROOT / "node_modules" / "oidc-client-ts" / "dist" / "browser" / "oidc-client-ts.js"
PATIENCE_MS = 20_000
SCOPE = "openid profile email offline_access"


@dataclass
class App:
    """The browser app as served: where, and as which client."""

    origin: str
    client: dict[str, str] = field(default_factory=dict[str, str])


@pytest.fixture(scope="session")
async def app(running_espace: RunningEspace) -> AsyncIterator[App]:
    """Served on a port of its own and registered, as its integrator would do (RFC 7591)."""
    with _served() as app:
        metadata = {
            "client_name": "Application de navigateur",
            "token_endpoint_auth_method": "none",
            "redirect_uris": [f"{app.origin}/callback", f"{app.origin}/silent"],
            "post_logout_redirect_uris": [f"{app.origin}/goodbye"],
            "grant_types": ["authorization_code", "refresh_token"],
            "scope": SCOPE,
            "dpop_bound_access_tokens": True,
            "require_dpop_nonce": True,
        }
        async with running_espace.http() as http:
            answer = await http.post(
                f"{running_espace.issuer}/register",
                json=metadata,
                headers={"Authorization": f"Bearer {running_espace.invitations['standard']}"},
            )
        assert answer.status_code == 201, answer.text
        app.client.update(authority=running_espace.issuer, client_id=answer.json()["client_id"])
        yield app


@contextmanager
def _served() -> Iterator[App]:
    app = App("")

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, body = _content(self.path.partition("?")[0], app)
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Codes pass in these addresses: nothing is written."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    app.origin = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield app
    finally:
        server.shutdown()
        server.server_close()


def _content(path: str, app: App) -> tuple[str, bytes]:
    if path == "/client.json":
        return "application/json", json.dumps(app.client).encode()
    if path == "/oidc-client-ts.js":
        return "text/javascript", LIBRARY.read_bytes()
    if path == "/app.js":
        return "text/javascript", (HERE / "app.js").read_bytes()
    return "text/html", (HERE / "index.html").read_bytes()


@pytest.fixture(scope="session")
async def trusting_browser(
    running_espace: RunningEspace, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Browser]:
    """Chromium that knows one more authority, ours, as if a person had imported it."""
    named = chromium()
    home = tmp_path_factory.mktemp("home")
    libraries = Path(named.executable).parent / "al2023" / "lib"
    command = [sys.executable, "-m", "tests.openid.browser.trust", libraries, home, running_espace.authority]
    done = subprocess.run(command, cwd=ROOT, env=named.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=named.executable,
            env={**named.environment, "HOME": str(home)},
            args=named.arguments,
        )
        yield browser
        await browser.close()


@dataclass
class Visitor:
    """A member of the caisse, with a browser that starts without a cookie."""

    context: BrowserContext
    app: App
    email: str
    password: str

    async def tab(self) -> Page:
        page = await self.context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        await page.goto(self.app.origin)
        return page

    async def identify(self, page: Page) -> None:
        """Fill the sign-in page."""
        await page.fill("#email", self.email)
        await page.fill("#password", self.password)
        await page.click("#sign-in")

    async def sign_in(self, page: Page) -> dict[str, Any]:
        """From the app to the app, by the sign-in and consent pages."""
        await page.click("#sign-in")
        await self.identify(page)
        await page.click("#accept")
        return await told(page, "signed in")


async def told(page: Page, state: str) -> dict[str, Any]:
    """What the app shows once it says `state`."""
    await expect(page.locator("#state")).to_have_text(state, timeout=PATIENCE_MS)
    return json.loads(await page.locator("#told").inner_text())


@pytest.fixture
async def visitor(
    running_espace: RunningEspace, trusting_browser: Browser, app: App
) -> AsyncIterator[Visitor]:
    context = await trusting_browser.new_context(locale="fr-FR")
    member = await running_espace.member()
    yield Visitor(context, app, member["email"], member["password"])
    await context.close()


@pytest.fixture
async def http(running_espace: RunningEspace) -> AsyncIterator[httpx.AsyncClient]:
    async with running_espace.http() as client:
        yield client

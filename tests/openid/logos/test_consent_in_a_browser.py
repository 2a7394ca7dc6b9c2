"""The consent page with a logo, in Chromium, at the three widths we look at."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Page, Route, async_playwright

from tests.browser import axe_source, chromium
from tests.openid.listener import Listener
from tests.openid.logos.conftest import Round
from tests.openid.party import Issuer

LONG_NAME = (
    "Plateforme de dématérialisation des chantiers, Anticonstitutionnellement-Intergouvernementalisation"
)
"""One that no telephone holds on a line: the heading does without it."""

NAMED = {360: "telephone", 768: "tablet", 1280: "desk"}


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    browser = chromium()
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(
            executable_path=browser.executable, env=dict(browser.environment), args=browser.arguments
        )
        yield await running.new_page(locale="fr-FR")
        await running.close()


@pytest.mark.parametrize("width", NAMED)
@pytest.mark.parametrize("with_logo", [True, False])
async def test_the_consent_page_holds_at_every_width(
    issuer: Issuer, server: Listener, worker: Round, page: Page, tmp_path: Path, width: int, with_logo: bool
) -> None:
    who = await (await issuer.person()).sign_in()
    client = await issuer.client(
        consent="explicit", client_name=LONG_NAME, client_uri="https://client.example/",
        policy_uri="https://confidentialite.un-nom-de-domaine-tres-long.client.example/donnees",
        tos_uri="https://client.example/conditions",
        **({"logo_uri": server.url("/logo.png")} if with_logo else {}),
    )  # fmt: skip
    await worker()
    shown = await client.authorize(who)
    went: list[str] = []

    async def answer(route: Route) -> None:
        """Identity's answers, its headers included; a request to anybody else is noted and fails."""
        address = urlsplit(route.request.url)
        went.append(address.netloc)
        if address.path.endswith("/consent-page"):
            await route.fulfill(status=200, headers=dict(shown.headers), body=shown.content)
            return
        found = await who.get(route.request.url)
        await route.fulfill(status=found.status_code, headers=dict(found.headers), body=found.content)

    await page.route("**/*", answer)
    await page.set_viewport_size({"width": width, "height": 800})
    await page.goto(f"{issuer.settings.identity.base}/consent-page")
    await page.screenshot(path=tmp_path / f"consent-{NAMED[width]}-{with_logo}.png", full_page=True)

    assert set(went) == {urlsplit(issuer.settings.identity.base).netloc}
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
    assert await page.locator("h1").inner_text() == "Donner un accès\u202f?"
    assert await page.locator("#logo").count() == int(with_logo)
    # WCAG 2.2 §2.5.8 and ours: what is pressed is 44 px high, and nobody refuses by accepting.
    accept, refuse = [await page.locator(one).bounding_box() for one in ("#accept", "#refuse")]
    assert accept is not None and refuse is not None
    beside, below = refuse["x"] - accept["x"] - accept["width"], refuse["y"] - accept["y"] - accept["height"]
    assert max(beside, below) >= 12
    low: list[str] = await page.evaluate(
        "[...document.querySelectorAll('button, .footer a')].filter("
        "one => one.getBoundingClientRect().height < 44).map(one => one.textContent)"
    )
    assert low == []
    if with_logo:
        seen: dict[str, Any] = await page.evaluate(
            "(() => { const i = document.querySelector('#logo'); const b = i.getBoundingClientRect();"
            " return {drawn: i.complete && i.naturalWidth, width: b.width, height: b.height} })()"
        )
        assert seen == {"drawn": 280, "width": 140, "height": 56}


async def test_the_consent_page_is_accessible(
    issuer: Issuer, server: Listener, worker: Round, page: Page
) -> None:
    who = await (await issuer.person()).sign_in()
    client = await issuer.client(
        consent="explicit", logo_uri=server.url("/logo.png"), policy_uri="https://client.example/p",
        tos_uri="https://client.example/t",
    )  # fmt: skip
    await worker()
    await page.set_content((await client.authorize(who)).text)
    violations: list[Any] = await page.evaluate(
        "source => { (0, eval)(source); return axe.run().then(r => r.violations.map(v => v.id)) }",
        axe_source(),
    )
    assert violations == []

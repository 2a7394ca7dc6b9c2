"""The cabinet's page in Chromium, on a telephone, a tablet and a desk: nothing wider than the screen, no barrier."""

from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar
from playwright.async_api import Route, async_playwright

from libs.common.database.pool import Database
from tests.browser import axe_source, chromium
from tests.conftest import HeldClock
from tests.identity.cabinets.software import a_machine
from tests.identity.delegation.parties import HERE, a_scene, an_active_mandate
from tests.identity.delegation.test_delegation_pages import app, signed_in

__all__ = ["app"]


@pytest.mark.parametrize("language", ["fr", "en"])
@pytest.mark.parametrize("width", [360, 768, 1280])
async def test_the_page_looks_well(
    app: Litestar, identity_db: Database, clock: HeldClock, tmp_path: Path, width: int, language: str
) -> None:
    scene = await a_scene(identity_db, clock())
    await an_active_mandate(identity_db, scene, clock(), machine=True)
    await a_machine(
        identity_db, scene, clock(), "Paie & Co, traitement de nuit des déclarations trimestrielles"
    )
    stopped = await a_machine(identity_db, scene, clock(), "Compta", sponsor_id=scene.owner)
    async with identity_db.transaction(HERE) as tx:
        await tx.execute("UPDATE machine_client SET last_used_at = $2 WHERE id = $1", stopped.id, clock())
        await tx.execute("UPDATE collaborator SET state = 'left' WHERE person_id = $1", scene.member)
    visitor = await signed_in(app, identity_db, scene.owner, clock())
    html = (await visitor.get(f"/{HERE}/cabinet")).text if language == "fr" else await english(visitor)

    async def answer(route: Route) -> None:
        if route.request.resource_type == "document":
            await route.fulfill(status=200, content_type="text/html; charset=utf-8", body=html)
            return
        got = await visitor.client.get(route.request.url)
        await route.fulfill(
            status=got.status_code, content_type=got.headers["content-type"], body=got.content
        )

    browser = chromium()
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(
            executable_path=browser.executable, env=dict(browser.environment), args=browser.arguments
        )
        page = await running.new_page(viewport={"width": width, "height": 800}, bypass_csp=True)
        await page.route("**/*", answer)
        await page.goto(f"https://id.example.test/{HERE}/cabinet")
        await page.screenshot(path=tmp_path / f"cabinet-{width}-{language}.png", full_page=True)
        violations: list[Any] = await page.evaluate(
            "source => { (0, eval)(source); return axe.run().then(r => r.violations.map("
            "v => [v.id, v.nodes.map(n => n.html + ' ' + n.failureSummary)])) }",
            axe_source(),
        )
        wide = await page.evaluate("document.documentElement.scrollWidth")
        await running.close()
    assert violations == []
    assert wide <= width


async def english(visitor: Any) -> str:
    got = await visitor.client.get(f"/{HERE}/cabinet", headers={"Accept-Language": "en"})
    return got.text

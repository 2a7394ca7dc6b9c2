"""The first connection on a telephone, in Chromium: a mason, two letters, 360 pixels."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar
from playwright.async_api import Page, Route, async_playwright

from libs.common.database.pool import Database
from services.identity.letters.paper_secret import PaperSecrets
from tests.browser import axe_source, chromium
from tests.conftest import HeldClock
from tests.identity.sign_in.test_sign_in import secret_shown, value_at
from tests.identity.sign_in.visitors import (
    BASE,
    CAISSE,
    GOOD_PASSWORD,
    Post,
    Visitor,
    a_firm,
    a_person,
    link_in,
    mailed_code,
)
from tests.pressed import too_small

HOP_BY_HOP = {"content-length", "content-encoding", "set-cookie", "transfer-encoding"}


class Telephone:
    """A narrow browser whose requests go straight to the application; its cookies live in the visitor."""

    def __init__(self, page: Page, visitor: Visitor, folder: Path) -> None:
        self.page, self.visitor, self.folder = page, visitor, folder
        self.seen: list[str] = []

    async def answer(self, route: Route) -> None:
        request = route.request
        # Chromium sends the redirects of an intercepted answer to the network: they are followed here.
        answer = await self.visitor.http.request(
            request.method,
            request.url,
            content=request.post_data_buffer,
            headers={name: request.headers[name] for name in ("content-type",) if name in request.headers},
            follow_redirects=True,
        )
        headers = {name: value for name, value in answer.headers.items() if name not in HOP_BY_HOP}
        await route.fulfill(status=answer.status_code, headers=headers, body=answer.content)

    async def looks_well(self, name: str) -> None:
        """No accessibility violation, nothing too wide or too small to press, one h1; a picture is kept."""
        await self.page.screenshot(path=self.folder / f"{len(self.seen):02}-{name}.png", full_page=True)
        self.seen.append(name)
        violations: list[Any] = await self.page.evaluate(
            "source => { (0, eval)(source); return axe.run().then(r => r.violations.map("
            "v => [v.id, v.nodes.map(n => n.html + ' ' + n.failureSummary)])) }",
            axe_source(),
        )
        assert violations == [], (name, violations)
        assert await self.page.evaluate("document.documentElement.scrollWidth") <= 360, name
        assert await too_small(self.page) == [], name
        assert await self.page.locator("h1").count() == 1, name

    async def press(self, id: str) -> None:
        async with self.page.expect_navigation():
            await self.page.click(f"#{id}")


@pytest.fixture
async def telephone(app: Litestar, tmp_path: Path) -> AsyncIterator[Telephone]:
    browser = chromium()
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(
            executable_path=browser.executable,
            env=dict(browser.environment),
            args=browser.arguments,
        )
        page = await running.new_page(viewport={"width": 360, "height": 740}, locale="fr-FR", bypass_csp=True)
        telephone = Telephone(page, Visitor(app), tmp_path)
        await page.route("**/*", telephone.answer)
        yield telephone
        await running.close()


async def test_a_mason_gets_through(
    telephone: Telephone, identity_db: Database, paper: PaperSecrets, post: Post, clock: HeldClock
) -> None:
    firm = await a_firm(identity_db, paper, clock, name="Maçonnerie d’Aix-en-Provence & Fils")
    page = telephone.page
    await page.goto(f"{BASE}/{CAISSE}/sign-in")
    await telephone.looks_well("sign-in")
    await telephone.press("first-connection")
    await telephone.press("continue")
    await telephone.looks_well("questions-errors")
    await page.check("#kind")
    await page.check("#letters")
    await telephone.press("continue")
    await page.fill("#number", firm.siret)
    await page.fill("#identifiant", firm.identifiant[:-1])
    await page.fill("#code-confidentiel", firm.code_confidentiel)
    await telephone.press("continue")
    await telephone.looks_well("letters-slip")
    await page.fill("#identifiant", firm.identifiant.lower())
    await telephone.press("continue")
    await telephone.looks_well("email")
    await page.fill("#email", "macon@exemple.fr")
    await telephone.press("continue")
    await telephone.looks_well("password")
    await page.fill("#password", GOOD_PASSWORD)
    await telephone.press("continue")
    await telephone.looks_well("mailbox")
    await page.goto(link_in(await post.newest("macon@exemple.fr"), "/confirm?link="))
    await telephone.looks_well("confirm")
    link = page.url
    await telephone.press("confirm")
    await telephone.looks_well("done")
    await page.goto(link)
    await telephone.looks_well("dead-link")

    await page.goto(f"{BASE}/{CAISSE}/account")
    await telephone.looks_well("sign-in-to-account")
    await page.fill("#email", "macon@exemple.fr")
    await page.fill("#password", GOOD_PASSWORD)
    await telephone.press("sign-in")
    await telephone.looks_well("account")
    for name in ("me", "name", "password"):
        await page.goto(f"{BASE}/{CAISSE}/account/{name}")
        await telephone.looks_well(f"account-{name}")
    await page.goto(f"{BASE}/{CAISSE}/account/factor")
    await telephone.looks_well("step-up")
    await page.fill("#password", GOOD_PASSWORD)
    await telephone.press("step-up")
    await telephone.looks_well("second-step-by-mail")
    for name in (
        "first-connection/missing-letter",
        "first-connection/cabinet",
        "sign-out",
        "forgotten-password",
    ):
        await page.goto(f"{BASE}/{CAISSE}/{name}")
        await telephone.looks_well(name.rpartition("/")[2])


async def test_a_collaborator_protects_the_account(
    telephone: Telephone, identity_db: Database, clock: HeldClock, post: Post
) -> None:
    await a_person(identity_db, clock, "phone@cabinet.fr", collaborator=True)
    page = telephone.page
    await page.goto(f"{BASE}/{CAISSE}/sign-in")
    await page.fill("#email", "phone@cabinet.fr")
    await page.fill("#password", GOOD_PASSWORD)
    await telephone.press("sign-in")
    await page.fill("#code", await mailed_code(post, "phone@cabinet.fr"))
    await telephone.press("second-factor")
    await telephone.looks_well("enrol")
    await page.fill("#code", value_at(secret_shown(await page.content()), clock))
    await telephone.press("enrol")
    await telephone.looks_well("recovery-codes")
    assert await page.locator("#recovery-codes li").count() == 8

"""The portal's pages in the states that the leaflet's journey does not cross, examined in Chromium."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from litestar import Litestar
from playwright.async_api import Page, Route, async_playwright

from tests.browser import axe_source, chromium
from tests.portal.conftest import PORTAL, Visitor
from tests.portal.far_side import ADH, ADHERENT, CAB, IDENTITY, MDT, FarSide
from tests.portal.test_home import LATE, STANDING
from tests.pressed import alike, too_small

AXE = "source => { (0, eval)(source); return axe.run().then(told => told.violations) }"
WIDTHS = (320, 768, 1280)
BEHIND = """() => {
  const one = document.activeElement, banner = document.querySelector('.acting');
  if (one === document.body) return null;
  if (banner.contains(one)) return [];
  const box = one.getBoundingClientRect(), over = banner.getBoundingClientRect();
  return box.bottom > over.top && box.top < over.bottom ? [one.outerHTML.slice(0, 120)] : [];
}"""
KEPT = """() => {
  scrollTo(0, document.documentElement.scrollHeight);
  const over = document.querySelector('.acting').getBoundingClientRect();
  return Math.max(0, over.bottom) / innerHeight;
}"""
"""Once the page is scrolled to its end."""
LONG_NAME = "Établissements Œuvres d’Aubagne-Saint-Zacharie, Charpente-Couverture-Zinguerie & Fils"


class Examiner:
    """Shows a page that was answered, at its address, and says what is wrong with it."""

    def __init__(self, page: Page, app: Litestar) -> None:
        self._page, self._app = page, app

    async def faults(self, html: str) -> list[str]:
        async with self._shown(html):
            found: list[str] = []
            for width in WIDTHS:
                await self._page.set_viewport_size({"width": width, "height": 800})
                if await self._page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                    found.append(f"wider than {width}")
            found += await too_small(self._page) + await alike(self._page)
            told: list[Any] = await self._page.evaluate(AXE, axe_source())
        return found + [f"{one['id']}: {[node['html'][:120] for node in one['nodes']]}" for one in told]

    async def behind_the_banner(self, html: str, width: int, height: int) -> tuple[list[str], float]:
        """What is focused, from the last to the first, under the banner; and the part of the screen that it keeps."""
        async with self._shown(html):
            await self._page.set_viewport_size({"width": width, "height": height})
            await self._page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
            hidden: list[str] = []
            for _ in range(60):
                await self._page.keyboard.press("Shift+Tab")
                found = await self._page.evaluate(BEHIND)
                if found is None:
                    break
                hidden += found
            return hidden, await self._page.evaluate(KEPT)

    @asynccontextmanager
    async def _shown(self, html: str) -> AsyncIterator[None]:
        async def show(route: Route) -> None:
            path = route.request.url.removeprefix(PORTAL)
            if route.request.resource_type == "document":
                await route.fulfill(body=html, content_type="text/html; charset=utf-8")
                return
            answer = await Visitor(self._app).get(path)
            kind = answer.headers.get("content-type", "text/plain")
            await route.fulfill(status=answer.status_code, body=answer.content, content_type=kind)

        await self._page.route("**/*", show)
        await self._page.goto(f"{PORTAL}/")
        yield
        await self._page.unroute("**/*", show)


@pytest.fixture
async def examiner(portal_app: Litestar) -> AsyncIterator[Examiner]:
    named = chromium()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=named.executable,
            env=dict(named.environment),
            args=named.arguments,
        )
        page = await browser.new_page(bypass_csp=True, locale="fr-FR")
        yield Examiner(page, portal_app)
        await browser.close()


async def test_every_state_of_the_home(examiner: Examiner, visitor: Visitor, far_side: FarSide) -> None:
    file = far_side.answers[f"{ADHERENT}/mediterranee/adherents/{ADH}"]
    file["legal_name"] = LONG_NAME
    file["establishments"] = [{"siret": "73282932000074", "name": "Siège", "is_head_office": True}]
    await visitor.sign_in(far_side)

    assert await examiner.faults((await visitor.get("/mediterranee")).text) == []
    far_side.answers[STANDING] |= {"is_up_to_date": False, "reasons": [LATE]}
    far_side.answers[f"{ADHERENT}/mediterranee/adherents/{ADH}/statements"] = {
        "statements": [{"period": "2026-11", "amount_cents": 1, "due_on": "2026-12-15", "paid_cents": 0}]
    }
    far_side.answers[f"{IDENTITY}/mediterranee/api/adherents/{ADH}/delegations"] = {
        "delegations": [
            {
                "id": f"{MDT[:-1]}{number}",
                "state": state,
                "family": family,
                "cabinet_name": LONG_NAME,
                "answer_by": "2026-12-01T10:00:00Z",
                "ends_on": ends_on,
            }
            for number, (state, family, ends_on) in enumerate(
                [
                    ("requested", "contributions", None),
                    ("requested", "time_off", None),
                    ("active", "contributions", "2026-12-31"),
                    ("active", "time_off", "2026-12-31"),
                    ("legacy_lapsed", "contributions", None),
                ]
            )
        ]
    }
    assert await examiner.faults((await visitor.get("/mediterranee")).text) == []
    # Given, taken back and given again: of one family, for the same last day.
    of_one_day = [
        {"state": state, "family": "contributions", "cabinet_name": LONG_NAME, "ends_on": "2026-12-31"}
        for state in ("active", "suspended", "revoked", "revoked", "declined")
    ]
    far_side.answers[f"{IDENTITY}/mediterranee/api/adherents/{ADH}/delegations"] = {
        "delegations": [
            {**one, "id": f"{MDT[:-1]}{number}", "at": f"2026-11-0{number + 1}T10:00:00Z"}
            for number, one in enumerate(of_one_day)
        ]
    }
    assert await examiner.faults((await visitor.get("/mediterranee")).text) == []
    far_side.down |= {"adherent", "documents"}
    assert await examiner.faults((await visitor.get("/mediterranee")).text) == []


async def test_the_refusal_and_what_refuses_everything(
    examiner: Examiner, visitor: Visitor, far_side: FarSide
) -> None:
    for goodbye in ("sign-out", "signed-out", "signed-out?only=here"):
        assert await examiner.faults((await visitor.get(f"/mediterranee/{goodbye}")).text) == []
    far_side.refuses_with = [LATE]
    await visitor.sign_in(far_side)
    home = await visitor.get("/mediterranee")

    assert await examiner.faults((await visitor.press(home, "/mediterranee/attestations")).text) == []
    assert await examiner.faults((await visitor.get("/atlantide")).text) == []
    forged = await visitor.post("/mediterranee/attestations", {}, **{"sec-fetch-site": "cross-site"})
    assert await examiner.faults(forged.text) == []
    far_side.session_over = True
    far_side.down.add("identity")
    assert await examiner.faults((await visitor.get("/mediterranee/sign-in")).text) == []


async def test_nobody_in_particular_and_a_large_cabinet(
    examiner: Examiner, visitor: Visitor, far_side: FarSide
) -> None:
    far_side.answers[f"{IDENTITY}/mediterranee/api/me"] = {"accounts": [], "cabinets": []}
    await visitor.sign_in(far_side)
    assert await examiner.faults((await visitor.get("/mediterranee")).text) == []

    far_side.become_cabinet()
    address = f"{IDENTITY}/mediterranee/api/cabinets/{CAB}/portfolio"
    one = far_side.answers[address]["clients"][0]
    far_side.answers[address] = {
        "clients": [
            *[
                {**one, "state": "offered", "id": f"{MDT[:-1]}{n}", "legal_name": f"{LONG_NAME} {n}"}
                for n in range(3)
            ],
            *[{**one, "legal_name": f"{LONG_NAME} {n}"} for n in range(3, 51)],
            *[
                {
                    **one,
                    "state": state,
                    "family": family,
                    "id": f"{MDT[:-2]}{state[0].upper()}{family[0].upper()}",
                }
                for state in ("offered", "active")
                for family in ("contributions", "time_off")
            ],
        ],
        "has_more": True,
    }
    assert await examiner.faults((await visitor.get("/mediterranee/clients?page=1")).text) == []
    far_side.answers[address] = {"clients": [], "has_more": False}
    assert await examiner.faults((await visitor.get("/mediterranee/clients?q=rien")).text) == []
    assert await examiner.faults((await visitor.get(f"/mediterranee/clients/{MDT}")).text) == []


async def test_no_field_is_reached_behind_the_banner_of_the_client(
    examiner: Examiner, visitor: Visitor, far_side: FarSide
) -> None:
    """WCAG 2.2 §2.4.11 and §1.4.10: the banner stays in sight where there is room for it, and hides no focus."""
    far_side.become_cabinet()
    address = f"{IDENTITY}/mediterranee/api/cabinets/{CAB}/portfolio"
    far_side.answers[address]["clients"][0]["legal_name"] = LONG_NAME
    await visitor.sign_in(far_side)
    html = (await visitor.get(f"/mediterranee/clients/{MDT}")).text
    assert LONG_NAME.partition("&")[0] in html
    for width, height in ((360, 640), (640, 360), (320, 256), (1280, 800)):
        hidden, share = await examiner.behind_the_banner(html, width, height)
        assert hidden == [], (width, height)
        assert share <= 1 / 3, (width, height)


async def test_a_stronger_sign_in_is_asked_for(
    examiner: Examiner, visitor: Visitor, far_side: FarSide
) -> None:
    await visitor.sign_in(far_side)
    home = await visitor.get("/mediterranee")
    for asked in ('acr_values="mfa"', 'max_age="300"'):
        far_side.challenges[f"/adherents/{ADH}/attestations"] = asked
        told = await visitor.press(home, "/mediterranee/attestations")
        assert "step-up" in told.text
        assert await examiner.faults(told.text) == []

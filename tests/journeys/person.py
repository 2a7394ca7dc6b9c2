"""One person at one browser without JavaScript, whose every page is examined as it is shown."""

import asyncio
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, BrowserContext, Page, Response, Route

from tests.browser import axe_source
from tests.pressed import alike, too_small

WIDTHS = (360, 768, 1280)
SCREENS = os.environ.get("JOURNEY_SCREENS")
AXE_WIDTHS = (320, 768, 1280)
"""The first is WCAG 2.2 §1.4.10: 1280 pixels at 400 %."""
AXE = "source => { if (!window.axe) (0, eval)(source); return axe.run().then(told => told.violations) }"


@dataclass
class Seen:
    """Every page that was examined, over all persons: its address, and what was wrong with it."""

    addresses: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)
    count: int = 0


class Person:
    """Presses, types and reads.

    `looks(name)` examines the page: axe at three widths, nothing too wide, nothing too small to press, no two
    names alike for two things, one h1.
    """

    def __init__(self, context: BrowserContext, page: Page, glass: Page, seen: Seen) -> None:
        self.context, self.page, self._glass, self.seen = context, page, glass, seen
        self.last: Response | None = None

    @classmethod
    async def at(cls, browser: Browser, seen: Seen) -> "Person":
        context = await browser.new_context(
            java_script_enabled=False, locale="fr-FR", reduced_motion="reduce"
        )
        # A script cannot run where none may: the examined copy lies under a glass that allows it.
        glass = await browser.new_page(bypass_csp=True, locale="fr-FR")
        return cls(context, await context.new_page(), glass, seen)

    async def leave(self) -> None:
        await self.context.close()
        await self._glass.context.close()

    async def open(self, address: str) -> None:
        self.last = await self.page.goto(address)

    @property
    def status(self) -> int:
        return self.last.status if self.last else 0

    async def press(self, id: str) -> None:
        """Press what bears this id, and wait for the page it leads to."""
        async with self.page.expect_navigation() as navigation:
            await self.page.click(f"#{id}")
        self.last = await navigation.value

    async def type(self, **fields: str) -> None:
        for name, text in fields.items():
            await self.page.fill(f"#{name.replace('_', '-')}", text)

    async def tab_to(self, id: str) -> None:
        """Reach a field with the keyboard alone."""
        for _ in range(80):
            if await self.focused() == id:
                return
            await self.page.keyboard.press("Tab")
        raise AssertionError(f"#{id} cannot be reached with Tab on {self.page.url}")

    async def is_led_to(self, id: str) -> None:
        """The page puts the focus there by itself: at its first rendering, which may come after its loading."""
        for _ in range(100):
            if await self.focused() == id:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"the focus is on #{await self.focused()}, not on #{id}")

    async def focused(self) -> str:
        return await self.page.evaluate("document.activeElement ? document.activeElement.id : ''")

    async def enter(self) -> None:
        async with self.page.expect_navigation() as navigation:
            await self.page.keyboard.press("Enter")
        self.last = await navigation.value

    async def says(self, words: str) -> bool:
        return plain(words) in plain(await self.page.inner_text("body"))

    async def looks(self, name: str) -> None:
        """Examine this page; faults are gathered, so that one run names them all."""
        self.seen.addresses.add(self.page.url)
        self.seen.count += 1
        label = f"{self.seen.count:02}-{name}"
        html = await self.page.content()
        for width in WIDTHS:
            await self.page.set_viewport_size({"width": width, "height": 800})
            if await self.page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                self.seen.faults.append(f"{label} at {width}: wider than the screen")
            if SCREENS:
                await self.page.screenshot(path=Path(SCREENS) / f"{label}-{width}.png", full_page=True)
        self.seen.faults += [f"{label}: {fault}" for fault in await too_small(self.page)]
        if await self.page.locator("h1").count() != 1:
            self.seen.faults.append(f"{label}: not exactly one h1")
        self.seen.faults += [f"{label}: {fault}" for fault in await self._axe(html)]

    async def _axe(self, html: str) -> list[str]:
        async def show(route: Route) -> None:
            if route.request.resource_type == "document":
                await route.fulfill(body=html, content_type="text/html; charset=utf-8")
            else:
                await route.continue_()

        await self._glass.route("**/*", show)
        await self._glass.goto(self.page.url)
        faults: list[str] = []
        for width in AXE_WIDTHS:
            await self._glass.set_viewport_size({"width": width, "height": 800})
            found: list[Any] = await self._glass.evaluate(AXE, axe_source())
            faults += [
                f"axe at {width}: {one['id']}: {one['help']}: {[node['html'][:160] for node in one['nodes']]}"
                for one in found
            ]
        faults += await alike(self._glass)
        await self._glass.unroute("**/*", show)
        return faults


def plain(words: str) -> str:
    return " ".join(words.replace("\u202f", " ").replace("\u00a0", " ").replace("’", "'").split()).casefold()

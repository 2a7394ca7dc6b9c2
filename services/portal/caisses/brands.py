"""The caisses of this installation and how each looks, as identity publishes them."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

import httpx
import msgspec
import structlog

from libs.common.pages.brand import Brand, readable_colour
from libs.common.refusals import NotFound
from libs.common.values.caisse_slug import CaisseSlug
from services.portal.refusals import ServiceDown

log = structlog.get_logger()

FRESH: Final = 30.0
"""Seconds before the list is read again; a new caisse shows within that time, or at once when it is asked for."""

RETRY: Final = 1.0
"""Seconds between two readings, whatever strangers ask for."""


class Brands:
    """The list at `{identity}/api/caisses`, remembered; an old list serves while identity is away."""

    def __init__(
        self, http: httpx.AsyncClient, identity_base: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._http = http
        self._url = f"{identity_base.rstrip('/')}/api/caisses"
        self._clock = clock
        self._known: dict[str, Brand] = {}
        self._read_at = self._not_before = float("-inf")
        self._reading = asyncio.Lock()

    async def every(self) -> list[Brand]:
        """All caisses, by name. Raises `ServiceDown` when the list was never read."""
        await self._refresh(FRESH)
        return sorted(self._known.values(), key=lambda brand: brand.name)

    async def of(self, caisse: CaisseSlug) -> Brand:
        """The brand of one caisse. Raises `NotFound`, or `ServiceDown` when the list was never read."""
        await self._refresh(FRESH)
        if caisse not in self._known:
            await self._refresh(RETRY, an_old_list_does=False)
        brand = self._known.get(caisse)
        if brand is None:
            raise NotFound
        return brand

    async def if_told(self, caisse: CaisseSlug) -> Brand | None:
        """The brand of one caisse; `None` when the list was never read. Raises `NotFound`."""
        try:
            return await self.of(caisse)
        except ServiceDown:
            return None

    def at_hand(self, caisse: str) -> Brand | None:
        """What is already known, without asking: for pages that tell of an outage."""
        return self._known.get(caisse)

    async def _refresh(self, age: float, *, an_old_list_does: bool = True) -> None:
        if self._clock() - self._read_at < age:
            return
        # Whoever can do with an old list waits for nobody's reading.
        if an_old_list_does and self._known and self._reading.locked():
            return
        async with self._reading:
            now = self._clock()
            if now - self._read_at < age or (self._known and now < self._not_before):
                return
            try:
                answer = await self._http.get(self._url)
                answer.raise_for_status()
                self._known = read_brands(answer.content)
                self._read_at = self._clock()
            except (httpx.HTTPError, msgspec.MsgspecError) as error:
                log.warning("portal.caisses_unavailable", reason=type(error).__name__)
                self._not_before = self._clock() + RETRY
                if not self._known:
                    raise ServiceDown("identity") from error


def read_brands(content: bytes) -> dict[str, Brand]:
    """Identity's JSON as brands, by slug. Raises `msgspec.MsgspecError`."""
    document: dict[str, list[dict[str, Any]]] = msgspec.json.decode(
        content, type=dict[str, list[dict[str, Any]]]
    )
    brands = [
        msgspec.convert({**caisse, "colour": readable_colour(str(caisse.get("colour", "")))}, Brand)
        for caisse in document["caisses"]
    ]
    return {brand.slug: brand for brand in brands}

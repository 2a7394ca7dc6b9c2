"""Identity does not answer, or a stranger asks for a caisse that is none: nobody else waits for that."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import httpx
import pytest

from libs.common.refusals import NotFound
from libs.common.values.caisse_slug import parse_caisse_slug
from services.portal.caisses.brands import FRESH as LIST_FRESH
from services.portal.caisses.brands import Brands
from services.portal.relying_party.provider import FRESH, Providers
from tests.portal.conftest import Visitor
from tests.portal.far_side import IDENTITY, FarSide

CAISSE = parse_caisse_slug("mediterranee")
Ask = Callable[[], Coroutine[Any, Any, Any]]


async def test_an_unknown_caisse_is_not_asked_for_at_identity(visitor: Visitor, far_side: FarSide) -> None:
    answer = await visitor.get("/nobody/sign-in")
    assert answer.status_code == 404
    assert not far_side.pushed


class Identity:
    """Answers at once, or keeps every caller waiting; `asked` is how many came."""

    def __init__(self, far_side: FarSide) -> None:
        self.far_side = far_side
        self.silent = False
        self.kept_waiting, self.released = asyncio.Event(), asyncio.Event()
        self.asked = 0
        self.now = 0.0

    async def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        if self.silent:
            self.kept_waiting.set()
            await self.released.wait()
        return await self.far_side.answer(request)

    def http(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(self.answer))


def provider(identity: Identity) -> Ask:
    providers = Providers(identity.http(), IDENTITY, clock=lambda: identity.now)
    return lambda: providers.of(CAISSE)


def brand(identity: Identity) -> Ask:
    brands = Brands(identity.http(), IDENTITY, clock=lambda: identity.now)
    return lambda: brands.of(CAISSE)


@pytest.mark.parametrize(("wanted", "fresh"), [(provider, FRESH), (brand, LIST_FRESH)])
async def test_what_is_known_waits_for_no_reading(
    far_side: FarSide, wanted: Callable[[Identity], Ask], fresh: float
) -> None:
    identity = Identity(far_side)
    ask = wanted(identity)
    known = await ask()
    identity.silent, identity.now = True, fresh + 1
    first = asyncio.create_task(ask())
    async with asyncio.timeout(60):
        await identity.kept_waiting.wait()
        assert await asyncio.gather(*(ask() for _ in range(20))) == [known] * 20
    assert identity.asked == 2
    first.cancel()


@pytest.mark.parametrize(("wanted", "fresh"), [(provider, FRESH), (brand, LIST_FRESH)])
async def test_after_a_failure_nobody_asks_again_at_once(
    far_side: FarSide, wanted: Callable[[Identity], Ask], fresh: float
) -> None:
    identity = Identity(far_side)
    ask = wanted(identity)
    known = await ask()
    far_side.down, identity.now = {"identity"}, fresh + 1
    assert [await ask() for _ in range(20)] == [known] * 20
    assert identity.asked == 2
    far_side.down, identity.now = set(), identity.now + fresh
    assert await ask() == known
    assert identity.asked == 3


async def test_a_new_caisse_asked_for_during_a_reading_is_in_what_is_read(far_side: FarSide) -> None:
    """Whoever asks for a caisse that the old list has not cannot do with the old list."""
    identity = Identity(far_side)
    brands = Brands(identity.http(), IDENTITY, clock=lambda: identity.now)
    await brands.every()
    identity.silent, identity.now = True, LIST_FRESH + 1
    async with asyncio.timeout(60), asyncio.TaskGroup() as visitors:
        visitors.create_task(brands.every())
        await identity.kept_waiting.wait()
        far_side.answers[f"{IDENTITY}/api/caisses"]["caisses"].append(
            {"slug": "bretagne", "name": "Bretagne"}
        )
        new = visitors.create_task(brands.of(parse_caisse_slug("bretagne")))
        identity.released.set()
    assert new.result().name == "Bretagne"
    assert identity.asked == 2


async def test_after_a_failure_no_stranger_asks_for_each_word_again(far_side: FarSide) -> None:
    identity = Identity(far_side)
    brands = Brands(identity.http(), IDENTITY, clock=lambda: identity.now)
    await brands.every()
    identity.silent, identity.now = True, LIST_FRESH + 1
    words = [parse_caisse_slug(f"nobody-{number}") for number in range(20)]
    async with asyncio.timeout(60):
        asking = asyncio.gather(*(brands.of(word) for word in words), return_exceptions=True)
        await identity.kept_waiting.wait()
        far_side.down = {"identity"}
        identity.released.set()
        assert {type(one) for one in await asking} == {NotFound}
    assert identity.asked == 2

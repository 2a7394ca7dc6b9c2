"""JWK Sets of strangers: read once, kept small, and an address that fails is left alone for a while."""

import asyncio
from typing import Any

import msgspec
import pytest

from libs.common.access.signatures import SigningKey
from services.identity.openid import guarded_fetcher
from services.identity.openid.client_keys import KNOWN_MEMBERS, LOOKED_AT, MOST_KEYS
from services.identity.openid.guarded_fetcher import FetchRefused, GuardedFetcher
from services.identity.openid.remembered import Remembered
from tests.openid.listener import Listener
from tests.openid.oidc_dynamic.registering import register
from tests.openid.party import Issuer

KEY = SigningKey.generate().published_jwk()


def fetcher(**more: Any) -> GuardedFetcher:
    return GuardedFetcher(["127.0.0.1"], **more)


def published(*keys: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"keys": keys})


async def refused(asked: Any) -> bool:
    try:
        await asked
    except FetchRefused:
        return True
    return False


async def test_those_who_ask_at_once_wait_for_one_reading(listener: Listener) -> None:
    listener.pages["/jwks"], listener.delay = published(KEY), 0.1
    one = fetcher()
    found = await asyncio.gather(*(one.jwks(listener.url("/jwks")) for _ in range(50)))
    assert set(map(len, found)) == {1} and len(listener.asked) == 1


async def test_of_a_thousand_members_the_first_hundred_are_looked_at(listener: Listener) -> None:
    """To be no point of its curve is what costs most to find out."""
    no_key = {**KEY, "y": KEY["x"]}
    listener.pages["/late"] = published(*[no_key] * LOOKED_AT, KEY)
    listener.pages["/early"] = published(*[no_key] * (LOOKED_AT - 1), KEY, *[no_key] * 500)
    assert await fetcher().jwks(listener.url("/late")) == ()
    assert await fetcher().jwks(listener.url("/early")) == (KEY,)


async def test_who_gives_up_takes_the_answer_from_nobody(listener: Listener) -> None:
    listener.pages["/jwks"], listener.delay = published(KEY), 0.2
    one, url = fetcher(), listener.url("/jwks")
    first = asyncio.create_task(one.jwks(url))
    await listener.arrived.wait()
    second = asyncio.create_task(one.jwks(url))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == (KEY,) and len(listener.asked) == 1


async def test_an_address_that_fails_is_left_alone_for_ten_seconds(
    listener: Listener, minutes: list[float]
) -> None:
    one, url = fetcher(), listener.url("/jwks")
    assert all(await asyncio.gather(*(refused(one.jwks(url)) for _ in range(20))))
    for _ in range(5):
        assert await refused(one.jwks(url))
        assert await refused(one.jwks_anew(listener.url("/other")))
    assert len(listener.asked) == 2, "one for each address"
    listener.pages["/jwks"] = published(KEY)
    minutes[0] += 9.9
    assert await refused(one.jwks(url))
    minutes[0] += 0.2
    assert await one.jwks(url) == (KEY,), "repaired: seen ten seconds later"


async def test_keys_that_are_known_outlive_a_failed_second_look(
    listener: Listener, minutes: list[float]
) -> None:
    one, url = fetcher(), listener.url("/jwks")
    listener.pages["/jwks"] = published(KEY)
    await one.jwks(url)
    del listener.pages["/jwks"]
    assert await one.jwks_anew(url) == (KEY,)
    minutes[0] += 301
    assert await refused(one.jwks(url)), "but not their five minutes"


async def test_unknown_kids_have_an_address_read_every_ten_seconds(
    listener: Listener, minutes: list[float]
) -> None:
    one, url = fetcher(), listener.url("/jwks")
    listener.pages["/jwks"] = published(KEY)
    for _ in range(20):
        await one.jwks_anew(url)
    assert len(listener.asked) == 1
    minutes[0] += 10
    await asyncio.gather(*(one.jwks_anew(url) for _ in range(20)))
    assert len(listener.asked) == 2


async def test_of_a_set_only_what_is_read_is_kept(listener: Listener) -> None:
    junk = {"x5c": ["A" * 1000] * 20, "deep": [[[[{}]]]], "key_ops": ["verify"]}
    private = SigningKey.generate().published_jwk() | {"d": "AA"}
    long = SigningKey.generate().published_jwk() | {"kid": "k" * 701}
    others: list[dict[str, Any]] = [
        {"kty": "RSA", "kid": "x"},
        {"kid": 5},
        {},
        private,
        long,
        KEY | {"kid": ["a"]},
    ]
    many = [SigningKey.generate().published_jwk() for _ in range(MOST_KEYS + 5)]
    listener.pages["/jwks"] = published(*others, KEY | junk, *many)
    found = await fetcher().jwks(listener.url("/jwks"))
    assert found[0] == KEY and len(found) == MOST_KEYS
    assert all(set(one) <= set(KNOWN_MEMBERS) for one in found)


async def test_what_is_remembered_is_bounded_by_its_size(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guarded_fetcher, "JWKS_REMEMBERED", 2000)
    one = fetcher()
    keys = [SigningKey.generate().published_jwk() for _ in range(4)]
    for at in range(10):
        listener.pages[f"/{at}"] = published(*keys)
        await one.jwks(listener.url(f"/{at}"))
        assert one._jwks.weight <= 2000
    await one.jwks(listener.url("/9"))
    assert len(listener.asked) == 10, "the latest is known"
    await one.jwks(listener.url("/0"))
    assert len(listener.asked) == 11, "the first was forgotten"


def test_remembering_forgets_what_was_longest_unused() -> None:
    kept: Remembered[str, int] = Remembered(10)
    kept.put("a", 1, 4)
    kept.put("b", 2, 4)
    assert kept.get("a") == 1
    kept.put("c", 3, 4)
    assert (kept.get("a"), kept.get("b"), kept.get("c"), kept.weight) == (1, None, 3, 8)
    kept.put("a", 5, 1)
    assert (kept.get("a"), kept.weight) == (5, 5)
    kept.put("huge", 6, 11)
    assert (kept.get("huge"), kept.get("c"), kept.weight) == (None, 3, 5)
    kept.drop("c")
    kept.drop("nothing")
    assert kept.weight == 1


async def test_a_registered_set_is_kept_as_small(issuer: Issuer) -> None:
    key = SigningKey.generate()
    jwks = {"keys": [key.published_jwk() | {"x5c": ["A" * 100], "deep": [[[]]]}], "more": [[[[]]]]}
    client, told = await register(issuer, key=key, jwks=jwks, token_endpoint_auth_method="private_key_jwt")
    assert told["jwks"] == {"keys": [key.published_jwk()]}
    assert (await client.post("/introspect", {"token": "x"})).status_code == 200

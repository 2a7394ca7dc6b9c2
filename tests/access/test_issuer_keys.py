"""The keys of an issuer: fetched once, found again after a rotation, and never at a stranger's beat."""

import asyncio
from typing import Any

import httpx
import pytest

from libs.common.access.issuer_keys import (
    BELIEVED,
    JWKS_LIMIT,
    MOST_WAITING,
    UNKNOWN_APART,
    UNKNOWN_AT_FIRST,
    UNKNOWN_AT_ONCE,
    IssuerKeys,
    IssuerUnavailable,
)
from libs.common.access.signatures import SigningKey
from libs.common.values.caisse_slug import CaisseSlug
from tests.access.tokens import CAISSE, ISSUER_BASE


class JwksServer:
    """A real HTTP answer, over ASGI, to `/{caisse}/jwks`."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self.status = 200
        self.slow = 0.0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.append(scope["path"])
        body = httpx.Response(200, json={"keys": list(self.keys)}).content
        await asyncio.sleep(self.slow)
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": body})


class Seconds:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def server() -> JwksServer:
    return JwksServer()


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def keys(server: JwksServer, seconds: Seconds) -> IssuerKeys:
    return IssuerKeys(httpx.AsyncClient(transport=httpx.ASGITransport(server)), ISSUER_BASE, clock=seconds)


async def test_a_key_is_fetched_once_for_all_who_ask(server: JwksServer, keys: IssuerKeys) -> None:
    key = SigningKey.generate()
    server.keys, server.slow = [key.published_jwk()], 0.02

    found = await asyncio.gather(*(keys.find(CAISSE, key.kid) for _ in range(50)))

    assert {one.kid for one in found if one} == {key.kid}
    assert server.asked == ["/mediterranee/jwks"]


async def test_a_rotated_key_is_found_by_the_first_token_that_names_it(
    server: JwksServer, keys: IssuerKeys, seconds: Seconds
) -> None:
    old, new = SigningKey.generate(), SigningKey.generate()
    server.keys = [old.published_jwk()]
    await keys.find(CAISSE, old.kid)
    server.keys = [old.published_jwk(), new.published_jwk()]
    seconds.now += 2

    assert await keys.find(CAISSE, new.kid)
    assert await keys.find(CAISSE, old.kid)
    assert keys.edition(CAISSE) == 0, "adding a key withdraws nothing"


async def test_strangers_cost_one_fetch_a_second(
    server: JwksServer, keys: IssuerKeys, seconds: Seconds
) -> None:
    for _ in range(3):
        found = await asyncio.gather(*(keys.find(CAISSE, f"stranger-{n}") for n in range(200)))
        assert set(found) == {None}
        seconds.now += 1

    assert len(server.asked) <= 6


async def test_a_withdrawn_key_changes_the_edition(
    server: JwksServer, keys: IssuerKeys, seconds: Seconds
) -> None:
    old, new = SigningKey.generate(), SigningKey.generate()
    server.keys = [old.published_jwk()]
    await keys.find(CAISSE, old.kid)
    server.keys = [new.published_jwk()]
    seconds.now += 2

    assert await keys.find(CAISSE, new.kid)
    assert await keys.find(CAISSE, old.kid) is None
    assert keys.edition(CAISSE) == 1


async def test_known_keys_outlive_an_outage_of_the_issuer(
    server: JwksServer, keys: IssuerKeys, seconds: Seconds
) -> None:
    key = SigningKey.generate()
    server.keys = [key.published_jwk()]
    await keys.find(CAISSE, key.kid)
    server.status = 500
    seconds.now += 3600

    assert await keys.find(CAISSE, key.kid)
    await asyncio.sleep(0.05)
    assert await keys.find(CAISSE, key.kid)


async def test_an_issuer_never_read_is_unavailable_not_wrong(server: JwksServer, keys: IssuerKeys) -> None:
    server.status = 503
    with pytest.raises(IssuerUnavailable):
        await keys.find(CAISSE, "any")


async def test_invented_caisses_share_one_pace(
    server: JwksServer, keys: IssuerKeys, seconds: Seconds
) -> None:
    """The caisse comes from the address: each invented one would else cost a fetch."""
    server.status = 404
    for _ in range(3):
        answers = await asyncio.gather(
            *(keys.find(CaisseSlug(f"invented-{n}"), "any") for n in range(3 * UNKNOWN_AT_FIRST)),
            return_exceptions=True,
        )
        assert {type(one) for one in answers} == {type(None), IssuerUnavailable}
        seconds.now += 1

    assert len(server.asked) <= UNKNOWN_AT_FIRST + 2 * (1 / UNKNOWN_APART) + 1


async def test_invented_caisses_have_no_real_one_forgotten_nor_kept_from(
    server: JwksServer, keys: IssuerKeys, seconds: Seconds
) -> None:
    old, new = SigningKey.generate(), SigningKey.generate()
    server.keys = [old.published_jwk()]
    await keys.find(CAISSE, old.kid)
    server.status, known = 404, len(server.asked)
    await asyncio.gather(
        *(keys.find(CaisseSlug(f"invented-{n}"), "any") for n in range(6000)), return_exceptions=True
    )
    assert await keys.find(CAISSE, old.kid)
    assert server.asked.count("/mediterranee/jwks") == known, "it was not read again"
    server.status, server.keys = 200, [old.published_jwk(), new.published_jwk()]
    seconds.now += 1

    assert await keys.find(CAISSE, new.kid), "the pace of strangers does not hold the known ones"


async def test_few_fetches_of_unknown_caisses_are_under_way_at_once(
    server: JwksServer, keys: IssuerKeys
) -> None:
    server.status, server.slow = 404, 0.2
    asking = [asyncio.create_task(keys.find(CaisseSlug(f"invented-{n}"), "any")) for n in range(40)]
    await asyncio.sleep(0.1)
    assert len(server.asked) == UNKNOWN_AT_ONCE
    for one in asking:
        one.cancel()


async def test_a_caisse_opened_since_is_found(server: JwksServer, keys: IssuerKeys, seconds: Seconds) -> None:
    key = SigningKey.generate()
    server.status = 404
    assert await keys.find(CAISSE, key.kid) is None
    server.status, server.keys = 200, [key.published_jwk()]
    seconds.now += 1
    assert await keys.find(CAISSE, key.kid)
    assert await keys.find(CAISSE, key.kid)
    assert len(server.asked) == 2


async def test_a_set_that_is_too_large_is_not_read(server: JwksServer, keys: IssuerKeys) -> None:
    key = SigningKey.generate()
    server.keys = [key.published_jwk(), {"kty": "EC", "padding": "x" * JWKS_LIMIT}]
    with pytest.raises(IssuerUnavailable):
        await keys.find(CAISSE, key.kid)


async def test_those_who_wait_are_bounded(server: JwksServer, keys: IssuerKeys) -> None:
    key = SigningKey.generate()
    server.keys, server.slow = [key.published_jwk()], 0.05
    found = await asyncio.gather(*(keys.find(CAISSE, key.kid) for _ in range(MOST_WAITING + 10)))
    assert sum(one is None for one in found) == 10


async def test_an_unknown_caisse_has_no_key(server: JwksServer, keys: IssuerKeys) -> None:
    server.status = 404
    assert await keys.find(CaisseSlug("nulle-part"), "any") is None


async def test_keys_without_one_algorithm_or_with_a_private_half_are_passed_over(
    server: JwksServer, keys: IssuerKeys
) -> None:
    good, bad = SigningKey.generate(), SigningKey.generate().published_jwk()
    silent = {name: value for name, value in bad.items() if name != "alg"}
    server.keys = [
        silent,
        {**bad, "d": "AAAA"},
        {**bad, "alg": "HS256"},
        {**bad, "use": "enc"},
        {**bad, "kid": ["a"]},
        {**bad, "kid": 7},
        {name: value for name, value in bad.items() if name != "kid"},
        good.published_jwk(),
    ]

    assert await keys.find(CAISSE, good.kid)
    assert await keys.find(CAISSE, bad["kid"]) is None


# Revoked keys


async def test_a_revoked_key_is_refused_though_its_set_is_fresh(
    server: JwksServer, keys: IssuerKeys, seconds: Seconds
) -> None:
    leaked, other = SigningKey.generate(), SigningKey.generate()
    server.keys = [leaked.published_jwk(), other.published_jwk()]
    assert await keys.find(CAISSE, leaked.kid)
    before = keys.edition(CAISSE)
    keys.revoke(CAISSE, leaked.kid)

    assert await keys.find(CAISSE, leaked.kid) is None
    assert await keys.find(CAISSE, other.kid)
    assert keys.edition(CAISSE) != before, "tokens verified before are verified once more"
    assert len(server.asked) == 1, "nobody who shows it has the issuer asked"


async def test_a_set_of_before_does_not_bring_a_revoked_key_back(
    server: JwksServer, keys: IssuerKeys, seconds: Seconds
) -> None:
    """Heard before the set was ever read, or again after it; an instance of the issuer may still publish the key."""
    leaked, other = SigningKey.generate(), SigningKey.generate()
    server.keys = [leaked.published_jwk(), other.published_jwk()]
    keys.revoke(CAISSE, leaked.kid)
    for _ in range(3):
        assert await keys.find(CAISSE, other.kid)
        assert await keys.find(CAISSE, leaked.kid) is None
        seconds.now += 100_000
    keys.revoke(CAISSE, leaked.kid)
    assert await keys.find(CAISSE, leaked.kid) is None


async def test_a_revocation_that_arrives_while_the_set_is_on_its_way_counts(
    server: JwksServer, keys: IssuerKeys
) -> None:
    leaked = SigningKey.generate()
    server.keys, server.slow = [leaked.published_jwk()], 0.1
    asking = asyncio.create_task(keys.find(CAISSE, leaked.kid))
    await asyncio.sleep(0.03)
    keys.revoke(CAISSE, leaked.kid)
    assert await asking is None


async def test_a_revocation_heard_between_the_reading_and_who_waited_for_it_counts(
    server: JwksServer, keys: IssuerKeys
) -> None:
    """The set is read, whoever asked for it goes on in the next round of the loop: a token believed then would be
    remembered under the edition of after.
    """
    leaked = SigningKey.generate()
    server.keys, server.slow = [leaked.published_jwk()], 0.05
    before = asyncio.all_tasks()
    asking = asyncio.create_task(keys.find(CAISSE, leaked.kid))
    await asyncio.sleep(0.01)
    (reading,) = asyncio.all_tasks() - before - {asking}
    reading.add_done_callback(lambda _: keys.revoke(CAISSE, leaked.kid))
    assert await asking is None


async def test_another_caisse_s_key_of_that_name_stands(server: JwksServer, keys: IssuerKeys) -> None:
    key = SigningKey.generate()
    server.keys = [key.published_jwk()]
    keys.revoke(CaisseSlug("grand-ouest"), key.kid)
    assert await keys.find(CAISSE, key.kid)


async def test_doubted_keys_are_asked_for_at_their_next_use(
    server: JwksServer, keys: IssuerKeys, seconds: Seconds
) -> None:
    leaked, other = SigningKey.generate(), SigningKey.generate()
    server.keys = [leaked.published_jwk(), other.published_jwk()]
    await keys.find(CAISSE, leaked.kid)
    server.keys, before = [other.published_jwk()], keys.edition(CAISSE)
    seconds.now += 2
    keys.doubt()

    assert keys.edition(CAISSE) != before
    assert await keys.find(CAISSE, other.kid)
    await asyncio.sleep(0.05)
    assert await keys.find(CAISSE, leaked.kid) is None
    assert len(server.asked) >= 2


async def test_doubted_keys_outlive_an_outage_as_long_as_a_token_may(
    server: JwksServer, keys: IssuerKeys, seconds: Seconds
) -> None:
    key = SigningKey.generate()
    server.keys = [key.published_jwk()]
    await keys.find(CAISSE, key.kid)
    server.status = 500
    seconds.now += BELIEVED - 1
    keys.doubt()
    assert await keys.find(CAISSE, key.kid)
    seconds.now += 2
    with pytest.raises(IssuerUnavailable):
        await keys.find(CAISSE, key.kid)
    server.status = 200
    seconds.now += 1
    assert await keys.find(CAISSE, key.kid)


async def test_who_hears_nothing_asks_before_it_believes(server: JwksServer, seconds: Seconds) -> None:
    http = httpx.AsyncClient(transport=httpx.ASGITransport(server))
    keys = IssuerKeys(http, ISSUER_BASE, believed=0.4, clock=seconds)
    leaked, other = SigningKey.generate(), SigningKey.generate()
    server.keys = [leaked.published_jwk()]
    assert await keys.find(CAISSE, leaked.kid)
    assert await keys.find(CAISSE, leaked.kid)
    assert len(server.asked) == 1
    server.keys = [other.published_jwk()]
    seconds.now += 0.41
    assert await keys.find(CAISSE, leaked.kid) is None
    server.status = 503
    seconds.now += 0.41
    with pytest.raises(IssuerUnavailable):
        await keys.find(CAISSE, other.kid)

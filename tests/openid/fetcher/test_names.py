"""Names of strangers: a name server that is silent takes nobody else's place, and outlives no key for long."""

import asyncio
import socket
import threading
import time
from typing import Any

import msgspec
import pytest

from libs.common.access.signatures import SigningKey
from services.identity.openid import resolver
from services.identity.openid.guarded_fetcher import FetchRefused, GuardedFetcher
from services.identity.openid.resolver import EACH_AT_ONCE, NoSuchName, Unresolved, reachable_first
from tests.openid.listener import Listener
from tests.openid.name_server import NameServer

KEY = SigningKey.generate().published_jwk()
HOST = "keys.example"


async def refused(asked: Any) -> str:
    try:
        await asked
    except FetchRefused as error:
        return str(error)
    return ""


# Places


async def test_a_client_s_silent_names_take_no_other_client_s_place(names: NameServer) -> None:
    """Four times the places there are in all, asked for by one client; then another's one name."""
    silent = [f"a{at}.silent.example" for at in range(4 * resolver.AT_ONCE)]
    names.silent.update(silent)
    names.known["other.example"] = ["8.8.8.8"]
    one = names.resolver()
    asking = [asyncio.create_task(one.addresses(name, of="its client")) for name in silent]
    await names.arrived.wait()
    assert await one.addresses("other.example", of="another client") == ["8.8.8.8"]
    assert len(set(names.asked) - {"other.example"}) == EACH_AT_ONCE and not any(it.done() for it in asking)
    for it in asking:
        it.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    assert await one.addresses("other.example", of="its client") == ["8.8.8.8"], "its own places came back"


async def test_an_address_without_a_client_is_its_name_s(names: NameServer) -> None:
    """A sector's document is read before there is a client."""
    names.silent.update(silent := [f"a{at}.example" for at in range(EACH_AT_ONCE + 1)])
    one = GuardedFetcher(resolver=names.resolver(), longest=0.3)
    assert set(await asyncio.gather(*(refused(one.get(f"https://{name}/s")) for name in silent))) == {
        "TimeoutError"
    }
    assert set(names.asked) == set(silent)


async def test_a_place_is_given_back_when_its_time_is_over(
    names: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every place there is, held by as many clients as it takes."""
    monkeypatch.setattr(resolver, "ANSWER_WITHIN", 0.3)
    clients = resolver.AT_ONCE // EACH_AT_ONCE
    names.silent.update(silent := [f"a{at}.example" for at in range(resolver.AT_ONCE)])
    names.known["other.example"] = ["8.8.8.8"]
    one = names.resolver()
    asking = [
        asyncio.create_task(one.addresses(name, of=f"client {at % clients}"))
        for at, name in enumerate(silent)
    ]
    await names.arrived.wait()
    assert await one.addresses("other.example", of="another client") == ["8.8.8.8"]
    ends = await asyncio.gather(*asking, return_exceptions=True)
    assert {type(end) for end in ends} == {Unresolved}


async def test_who_finds_no_place_in_time_is_not_asked_for(
    names: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver, "PLACE_WITHIN", 0.1)
    names.silent.update(silent := [f"a{at}.example" for at in range(EACH_AT_ONCE)])
    one = names.resolver()
    asking = [asyncio.create_task(one.addresses(name, of="its client")) for name in silent]
    await names.arrived.wait()
    with pytest.raises(Unresolved, match="no place"):
        await one.addresses("late.example", of="its client")
    assert "late.example" not in names.asked
    for it in asking:
        it.cancel()


async def test_a_silent_name_is_given_up_in_the_fetcher_s_own_time(names: NameServer) -> None:
    names.silent.add("a.example")
    one = GuardedFetcher(resolver=names.resolver(), longest=0.2)
    assert await refused(one.get("https://a.example/")) == "TimeoutError"
    assert await refused(one.post_form("https://a.example/", {})) == "TimeoutError"


async def test_silent_names_hold_no_thread_of_the_process(names: NameServer) -> None:
    names.silent.update(silent := [f"a{at}.example" for at in range(16)])
    one = names.resolver()
    before = threading.active_count()
    asking = [asyncio.create_task(one.addresses(name, of=name)) for name in silent]
    await names.arrived.wait()
    assert threading.active_count() == before
    for it in asking:
        it.cancel()


# Answers


async def test_both_families_are_told_and_a_number_is_itself(names: NameServer) -> None:
    names.known["both.example"] = ["8.8.8.8", "2606:4700:4700::1111"]
    one = names.resolver()
    assert await one.addresses("both.example", of="it") == ["8.8.8.8", "2606:4700:4700::1111"]
    assert await one.addresses("8.8.4.4", of="it") == ["8.8.4.4"]
    assert set(names.asked) == {"both.example"}, "and never completed with a domain of ours"


async def test_no_such_name_is_an_answer_and_a_failure_is_none(names: NameServer) -> None:
    names.failing.add("failing.example")
    names.known["empty.example"] = []
    one = names.resolver()
    for name in ("nowhere.example", "a..b", "a" * 64 + ".example"):
        with pytest.raises(NoSuchName):
            await one.addresses(name, of="it")
    with pytest.raises(Unresolved):
        await one.addresses("failing.example", of="it")
    assert await one.addresses("empty.example", of="it") == []


async def test_one_lost_datagram_is_no_silence(names: NameServer) -> None:
    names.known["lossy.example"] = ["8.8.8.8"]
    names.silent.add("lossy.example")
    begun = time.monotonic()
    asking = asyncio.create_task(names.resolver().addresses("lossy.example", of="it"))
    await names.arrived.wait()
    names.silent.clear()
    assert await asking == ["8.8.8.8"] and time.monotonic() - begun >= resolver.ONE_TRY


def test_an_address_without_a_route_comes_last() -> None:
    """A link-local address leads nowhere without its link."""
    assert reachable_first(["fe80::1", "127.0.0.1"]) == "127.0.0.1"
    assert reachable_first(["fe80::1"]) == "fe80::1"


# Keys whose address nobody resolves


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How the system's resolver fails for `HOST` (`EAI_AGAIN` …); without a number, it says loopback."""
    failing, real = list[int](), socket.getaddrinfo

    def answer(host: Any, port: Any, *others: Any, **more: Any) -> Any:
        if host == HOST and failing:
            raise socket.gaierror(failing[0], "as the test says")
        return real("127.0.0.1" if host == HOST else host, port, *others, **more)

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    return failing


async def read_once(listener: Listener) -> tuple[GuardedFetcher, str]:
    listener.pages["/jwks"] = msgspec.json.encode({"keys": [KEY]})
    one, url = GuardedFetcher([HOST]), listener.url("/jwks", HOST)
    assert await one.jwks(url) == (KEY,)
    return one, url


async def test_keys_outlive_the_silence_of_a_name_server_fifteen_minutes_from_their_reading(
    listener: Listener, minutes: list[float], system: list[int]
) -> None:
    one, url = await read_once(listener)
    system.append(socket.EAI_AGAIN)
    for _ in range(3):
        minutes[0] += 299.9
        assert await one.jwks(url) == (KEY,)
        assert await one.jwks_anew(url) == (KEY,)
    minutes[0] += 0.4
    assert await refused(one.jwks(url)), "899.7 and 0.4: no longer"
    system.clear()
    assert await refused(one.jwks(url)), "the failure holds for ten seconds, as any other"
    minutes[0] += 10
    assert await one.jwks(url) == (KEY,)


async def test_a_key_taken_back_is_dead_as_soon_as_the_name_is_resolved_again(
    listener: Listener, minutes: list[float], system: list[int]
) -> None:
    one, url = await read_once(listener)
    system.append(socket.EAI_AGAIN)
    minutes[0] += 301
    assert await one.jwks(url) == (KEY,)
    system.clear()
    other = SigningKey.generate().published_jwk()
    listener.pages["/jwks"] = msgspec.json.encode({"keys": [other]})
    minutes[0] += 10
    assert await one.jwks(url) == (other,)


@pytest.mark.parametrize("said", ["no such name", "not found", "no keys"])
async def test_what_its_owner_says_counts_at_once(
    listener: Listener, minutes: list[float], system: list[int], said: str
) -> None:
    """A name taken away, an address taken away, a set that is empty: each is a way to take a key back."""
    one, url = await read_once(listener)
    minutes[0] += 301
    if said == "no such name":
        system.append(socket.EAI_NONAME)
    elif said == "not found":
        del listener.pages["/jwks"]
    else:
        listener.pages["/jwks"] = msgspec.json.encode({"keys": []})
    assert await refused(one.jwks(url)) or await one.jwks(url) == ()
    system[:] = [socket.EAI_AGAIN]
    minutes[0] += 301
    assert await refused(one.jwks(url)) or await one.jwks(url) == (), "and no silence afterwards revives it"

"""A client's own addresses may be slow: they hold up nobody but the client."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from libs.common.database.held import TransactionIsOpen
from services.identity.openid.guarded_fetcher import GuardedFetcher
from services.identity.openid.registration.dynamic import PER_CLIENT, PER_NETWORK
from tests.openid.oidc_dynamic.registering import CALLBACK, invitation, manage, post, register
from tests.openid.party import Issuer

MORE_THAN_THE_POOL = 14


@pytest.fixture
async def silent() -> AsyncIterator[tuple[str, asyncio.Event]]:
    """An address that takes every connection and answers none; the event is set once one for each caller came."""
    arrived, over, waiting = asyncio.Event(), asyncio.Event(), set[int]()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        waiting.add(id(writer))
        if len(waiting) == MORE_THAN_THE_POOL:
            arrived.set()
        await over.wait()
        writer.close()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/sector", arrived
    over.set()
    server.close()


async def held_up(issuer: Issuer, arrived: asyncio.Event, asking: list[asyncio.Task[httpx.Response]]) -> None:
    """All wait for the silent address, and somebody else is served meanwhile."""
    await asyncio.wait({asyncio.create_task(arrived.wait())}, timeout=8)
    async with issuer.http() as http:
        answer = await http.get(f"/{issuer.caisse}/sign-in", headers={"Accept": "text/html"})
    assert answer.status_code == 200
    assert arrived.is_set() and not any(one.done() for one in asking)
    assert {one.status_code for one in await asyncio.gather(*asking)} == {400}


async def test_a_silent_sector_holds_up_no_registration_of_others(
    issuer: Issuer, silent: tuple[str, asyncio.Event]
) -> None:
    uri, arrived = silent
    token = await invitation(issuer, uses=MORE_THAN_THE_POOL)
    body = {"redirect_uris": [CALLBACK], "sector_identifier_uri": uri}
    await held_up(
        issuer, arrived, [asyncio.create_task(post(issuer, token, body)) for _ in range(MORE_THAN_THE_POOL)]
    )


async def test_a_silent_sector_holds_up_no_update_of_others(
    issuer: Issuer, silent: tuple[str, asyncio.Event]
) -> None:
    uri, arrived = silent
    _, told = await register(issuer)
    changed = {**told, "sector_identifier_uri": uri}
    await held_up(
        issuer,
        arrived,
        [asyncio.create_task(manage(issuer, told, "PUT", changed)) for _ in range(MORE_THAN_THE_POOL)],
    )


async def test_an_invitation_for_one_registers_one_of_many_at_once(issuer: Issuer) -> None:
    token = await invitation(issuer)
    answers = await asyncio.gather(*(post(issuer, token, {"redirect_uris": [CALLBACK]}) for _ in range(5)))

    assert sorted(one.status_code for one in answers) == [201, 401, 401, 401, 401]


async def test_a_rule_that_is_broken_is_told_before_anything_is_read(issuer: Issuer, listener: Any) -> None:
    body = {
        "redirect_uris": [CALLBACK],
        "sector_identifier_uri": listener.url("/s"),
        "grant_types": ["password"],
    }
    assert (await post(issuer, await invitation(issuer), body)).status_code == 400
    assert listener.asked == []


async def test_nothing_is_fetched_while_a_transaction_is_open(issuer: Issuer, listener: Any) -> None:
    """Whatever path is written one day: the fetcher itself refuses to wait with a connection in hand."""
    fetcher = GuardedFetcher(["127.0.0.1"])
    listener.pages["/jwks"] = b'{"keys":[]}'
    url = listener.url("/jwks")
    async with issuer.db.transaction(issuer.caisse):
        for asked in (
            fetcher.get(url),
            fetcher.jwks(url),
            fetcher.jwks_anew(url),
            fetcher.post_form(url, {}),
        ):
            with pytest.raises(TransactionIsOpen):
                await asyncio.create_task(asked)
        meanwhile = asyncio.create_task(_after(asyncio.sleep(0.05), fetcher, url))
    assert listener.asked == []
    assert await meanwhile == 200, "a task begun inside, that goes on after it"
    assert await fetcher.post_form(url, {}) == 200


async def _after(pause: Any, fetcher: GuardedFetcher, url: str) -> int:
    await pause
    return await fetcher.post_form(url, {})


async def test_registering_and_managing_have_their_allowances(issuer: Issuer) -> None:
    _, told = await register(issuer)
    answers = [(await manage(issuer, told, "GET")).status_code for _ in range(PER_CLIENT.burst + 1)]
    assert set(answers[:-1]) == {200} and answers[-1] == 429
    issuer.clock.forward(seconds=int(PER_CLIENT.every.total_seconds()))
    assert (await manage(issuer, told, "GET")).status_code == 200

    answers = [await post(issuer, "nobody", {}) for _ in range(PER_NETWORK.burst + 1)]
    assert {one.status_code for one in answers} == {401, 429}
    assert answers[-1].json()["error"] == "slow_down" and "retry-after" in answers[-1].headers
    issuer.clock.forward(hours=1)
    assert (await post(issuer, "nobody", {})).status_code == 401

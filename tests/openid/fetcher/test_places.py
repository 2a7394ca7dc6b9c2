"""Strangers have a client's `request_uri` read as often as they like: few at once, and no other address waits."""

import asyncio

from services.identity.openid.guarded_fetcher import READS_AT_ONCE, GuardedFetcher
from tests.openid.listener import Listener


async def test_few_read_one_address_at_once_and_all_of_them_in_the_end(listener: Listener) -> None:
    listener.pages |= {"/slow": b"{}", "/other": b"{}"}
    listener.delay = 0.5
    fetcher = GuardedFetcher(["127.0.0.1"])
    many = [
        asyncio.create_task(fetcher.get(listener.url("/slow"), of="one")) for _ in range(3 * READS_AT_ONCE)
    ]
    await listener.arrived.wait()
    await asyncio.sleep(0.2)
    assert len(listener.asked) <= READS_AT_ONCE
    listener.delay = 0.0
    assert await fetcher.get(listener.url("/other"), of="one") == (b"{}", "application/json")
    assert not all(one.done() for one in many)
    assert {body for body, _ in await asyncio.gather(*many)} == {b"{}"}
    assert len(listener.asked) == 3 * READS_AT_ONCE + 1

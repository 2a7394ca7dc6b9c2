"""What is sent behind a request whose answer takes its time: bounded as well."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from libs.common.http.bounded_connection import LARGEST_HEAD
from tests.abuse.connections.serving import answering

ANSWER_AFTER = 8.0
REQUEST = b"GET / HTTP/1.1\r\nHost: id.example.test\r\n"


async def slow(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await asyncio.sleep(ANSWER_AFTER)
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
async def address() -> AsyncIterator[tuple[str, int]]:
    async with answering(slow) as where:
        yield where


async def test_a_head_without_end_behind_a_request_under_way_ends_the_connection(
    address: tuple[str, int],
) -> None:
    """Else its header lines are kept for as long as the answer takes."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(REQUEST + b"\r\n")
    await writer.drain()
    await asyncio.sleep(0.1)
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        async with asyncio.timeout(ANSWER_AFTER / 2):
            writer.write(REQUEST)
            for number in range(4096):
                writer.write(b"X-%d: %s\r\n" % (number, b"x" * (LARGEST_HEAD // 8)))
                await writer.drain()
            await reader.readexactly(1)
    writer.close()

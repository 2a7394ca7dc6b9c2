"""What is sent behind a request whose answer takes its time: bounded as well."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from uvicorn import Config, Server

from libs.common.http.bounded_connection import LARGEST_HEAD, BoundedConnection

ANSWER_AFTER = 8.0
REQUEST = b"GET / HTTP/1.1\r\nHost: id.example.test\r\n"


async def slow(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await asyncio.sleep(ANSWER_AFTER)
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def until_it_listens(listening: socket.socket) -> None:
    for _ in range(200):
        try:
            _, writer = await asyncio.open_connection(*listening.getsockname())
        except ConnectionError:
            await asyncio.sleep(0.01)
        else:
            writer.close()
            return


@pytest.fixture
async def address() -> AsyncIterator[tuple[str, int]]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = Server(
            Config(
                slow,
                http=BoundedConnection,
                ws="none",
                interface="asgi3",
                lifespan="off",
                log_config=None,
                timeout_graceful_shutdown=1,
            )
        )
        serving = asyncio.create_task(server.serve([listening]))
        await until_it_listens(listening)
        yield listening.getsockname()
        server.should_exit = True
        await serving


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

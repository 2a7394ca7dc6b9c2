"""What follows a body: its trailer fields are no header of the request, and neither they nor a chunk's extensions are
without end.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from libs.common.http.bounded_connection import LARGEST_HEAD
from tests.abuse.connections.serving import answering

CHUNKED = b"POST / HTTP/1.1\r\nHost: id.example.test\r\nTransfer-Encoding: chunked\r\n\r\n"
PIECE = 16 * 1024


async def names_of_headers(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Tells, once the body is whole, every header of the request."""
    while (await receive()).get("more_body"):
        pass
    said = b" ".join(name for name, _ in scope["headers"])
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(said))]}
    )
    await send({"type": "http.response.body", "body": said})


@pytest.fixture
async def address() -> AsyncIterator[tuple[str, int]]:
    async with answering(names_of_headers) as where:
        yield where


async def test_a_trailer_field_is_no_header(address: tuple[str, int]) -> None:
    """RFC 9110 §6.5.1. A proxy has written its own headers before, and what it took out must not come back behind."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(
        CHUNKED + b"3\r\na=b\r\n0\r\nX-Forwarded-For: 203.0.113.9\r\nAuthorization: Basic eDp5\r\n\r\n"
    )
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
    assert head.startswith(b"HTTP/1.1 200")
    said = await asyncio.wait_for(reader.readexactly(len(b"host transfer-encoding")), 20)
    assert said == b"host transfer-encoding"
    # The connection is in order: the next request is read as one.
    writer.write(CHUNKED + b"0\r\nCookie: a=b\r\n\r\n")
    assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)).startswith(b"HTTP/1.1 200")
    writer.close()


@pytest.mark.parametrize(
    ("before", "piece"),
    [
        (b"3\r\na=b\r\n0\r\n", b"x: y\r\n" * (PIECE // 6)),
        (b"3\r\na=b\r\n0\r\nX-Endless: ", b"x" * PIECE),
        (b"3;", b"x" * PIECE),
    ],
    ids=["trailers", "one trailer", "a chunk's extension"],
)
async def test_what_is_neither_head_nor_body_ends_too(
    address: tuple[str, int], before: bytes, piece: bytes
) -> None:
    """A hundred megabytes of trailers were three gigabytes of memory, and one endless field held the processor."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(CHUNKED + before)
    sent = 0
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        async with asyncio.timeout(60):
            while sent < 100 * LARGEST_HEAD:
                writer.write(piece)
                await writer.drain()
                sent += len(piece)
            await reader.readexactly(1)
    writer.close()

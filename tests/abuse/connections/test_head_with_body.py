"""The head of an answer waits for its body, never for anything else, and nothing of it is lost or mixed up."""

import asyncio
import gc
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
import uvloop

from libs.common.http.head_with_body import COPIED_AT_MOST
from tests.abuse.connections.serving import answering

GO_ON = asyncio.Event()
LARGE = b"x" * (COPIED_AT_MOST * 3 + 1)


def asked(path: str, method: str = "GET", extra: str = "") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: id.example.test\r\n{extra}\r\n".encode()


async def app(scope: Any, receive: Any, send: Any) -> None:
    path, size = scope["path"], []
    body = LARGE if path == "/large" else b"whole"
    if path in ("/whole", "/large"):
        size = [(b"content-length", b"%d" % len(body))]
    status = 204 if path == "/empty" else 200
    if path == "/posted":
        body = (await receive())["body"]
    await send({"type": "http.response.start", "status": status, "headers": size})
    if path == "/torn":
        raise RuntimeError("torn")
    if path == "/slowly":
        # As a head looks, in the middle of a body.
        for part in (b"HTTP/1.1 200 first", b"HTTP/1.1 100 second"):
            await send({"type": "http.response.body", "body": part, "more_body": True})
            await GO_ON.wait()
    await send({"type": "http.response.body", "body": b"" if status == 204 else body})


class Reader:
    """Reads for twenty seconds at most: a head that is never let go fails the test."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    async def read(self, most: int) -> bytes:
        return await asyncio.wait_for(self._reader.read(most), 20)

    async def readuntil(self, end: bytes) -> bytes:
        return await asyncio.wait_for(self._reader.readuntil(end), 20)

    async def readexactly(self, size: int) -> bytes:
        return await asyncio.wait_for(self._reader.readexactly(size), 20)


Streams = tuple[Reader, asyncio.StreamWriter]


@pytest.fixture
async def streams() -> AsyncIterator[Streams]:
    GO_ON.clear()
    async with answering(app) as where:
        reader, writer = await asyncio.open_connection(*where)
        yield Reader(reader), writer
        writer.close()


async def test_a_short_answer_arrives_at_once(streams: Streams) -> None:
    reader, writer = streams
    for _ in range(3):
        writer.write(asked("/whole"))
        answer = await reader.read(65536)
        assert answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"\r\n\r\nwhole")


async def test_a_large_one_is_whole(streams: Streams) -> None:
    reader, writer = streams
    writer.write(asked("/large") + asked("/whole"))
    await reader.readuntil(b"\r\n\r\n")
    assert await reader.readexactly(len(LARGE)) == LARGE
    assert (await reader.readuntil(b"whole")).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(("method", "path"), [("HEAD", "/whole"), ("GET", "/empty")])
async def test_an_answer_without_body_is_its_head(streams: Streams, method: str, path: str) -> None:
    reader, writer = streams
    for _ in range(2):
        writer.write(asked(path, method))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 20")
    writer.write(asked("/whole"))
    assert (await reader.readuntil(b"whole")).startswith(b"HTTP/1.1 200")


async def test_what_comes_in_parts_is_not_held(streams: Streams) -> None:
    """Nor is a part that looks like a head one."""
    reader, writer = streams
    writer.write(asked("/slowly"))
    first = await reader.readuntil(b"first")
    assert first.startswith(b"HTTP/1.1 200 OK\r\n") and b"transfer-encoding: chunked" in first
    GO_ON.set()
    rest = await reader.readuntil(b"0\r\n\r\n")
    assert b"HTTP/1.1 100 second" in rest and b"whole" in rest


async def test_whoever_waits_to_be_told_to_go_on_is_told(streams: Streams) -> None:
    reader, writer = streams
    writer.write(asked("/posted", "POST", "Expect: 100-continue\r\nContent-Length: 4\r\n"))
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"body")
    assert b"body" in await reader.readuntil(b"0\r\n\r\n")


async def test_whoever_waited_and_was_refused_sends_its_next_request_elsewhere(streams: Streams) -> None:
    """It may leave out the body that it announced: what it sent next would pass for that."""
    reader, writer = streams
    writer.write(asked("/whole", "POST", "Expect: 100-continue\r\nContent-Length: 4\r\n"))
    heard = await reader.read(-1)
    assert heard.startswith(b"HTTP/1.1 200") and b"\r\nconnection: close\r\n" in heard


async def test_answers_to_requests_sent_ahead_keep_their_order(streams: Streams) -> None:
    reader, writer = streams
    writer.write(asked("/whole") + asked("/empty") + asked("/whole", "HEAD") + asked("/slowly"))
    GO_ON.set()
    heads = [await reader.readuntil(b"\r\n\r\n") for _ in range(2)]
    assert heads[0].startswith(b"HTTP/1.1 200")
    assert heads[1].startswith(b"wholeHTTP/1.1 204")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    assert b"second" in await reader.readuntil(b"0\r\n\r\n")


async def test_the_last_answer_of_a_connection_is_sent_before_it_closes(streams: Streams) -> None:
    reader, writer = streams
    writer.write(asked("/whole", "HEAD", "Connection: close\r\n"))
    assert (await reader.read(-1)).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("said", [b"nonsense\r\n\r\n", asked("/torn")])
async def test_what_fails_is_told_before_the_connection_closes(streams: Streams, said: bytes) -> None:
    reader, writer = streams
    writer.write(said)
    assert (await reader.read(-1)).startswith(b"HTTP/1.1 ")


def test_a_head_held_for_a_client_that_has_reset_is_dropped() -> None:
    """On uvloop, which serves: it raises at a write to a connection that is gone."""
    gone, failed = asyncio.Event(), list[dict[str, Any]]()

    async def torn(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while (await receive())["type"] != "http.disconnect":
            pass
        gone.set()
        raise RuntimeError("torn")

    async def reset_while_it_is_held() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.append(context))
        async with answering(torn) as where:
            _, writer = await asyncio.open_connection(*where)
            # SO_LINGER of no time: closing sends RST.
            raw = cast(socket.socket, writer.get_extra_info("socket"))
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.write(asked("/held"))
            await writer.drain()
            await asyncio.sleep(0.1)
            writer.transport.abort()
            await asyncio.wait_for(gone.wait(), 20)
            await asyncio.sleep(0.1)
        gc.collect()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(reset_while_it_is_held())
    assert failed == []

"""Connections that make a service wait or hold: each is bounded by itself, and takes nothing from the others.

A real `espace serve identity`, raw sockets (reliability.md §7: slowhttptest, 2,000 connections).
"""

import asyncio
import re
import resource
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import psutil
import pytest
from msgspec.structs import replace

from libs.common.http.bounded_connection import HEAD_SECONDS, LARGEST_HEAD, SENT_AHEAD
from libs.common.runtime.child_process import free_port
from libs.common.runtime.settings import Settings
from tests.faults.serving import Serving, serving

SLOW_CLIENTS = 2000
HEALTH = b"GET /health/live HTTP/1.1\r\nHost: id.example.test\r\n"
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture(scope="module")
async def identity(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Serving]:
    section = replace(settings.identity, port=free_port())
    folder = tmp_path_factory.mktemp("served")
    async with serving("identity", replace(settings, identity=section), folder) as identity:
        yield identity


@pytest.fixture
def many_files() -> Iterator[None]:
    few, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, SLOW_CLIENTS * 2 + few), most))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, most))


async def connected(identity: Serving, said: bytes = b"") -> Connection:
    host, _, port = identity.address.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(said)
    await writer.drain()
    return reader, writer


async def end_of(connection: Connection, within: float) -> bytes:
    """All that is answered until the server ends the connection."""
    reader, writer = connection
    try:
        async with asyncio.timeout(within):
            heard = b""
            while said := await reader.read(65536):
                heard += said
            return heard
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def drip(connection: Connection, drop: bytes) -> None:
    """One drop every fifth of a second for as long as the server listens."""
    _, writer = connection
    with suppress(ConnectionError):
        while not writer.is_closing():
            writer.write(drop)
            await writer.drain()
            await asyncio.sleep(0.2)


def answered(heard: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", heard)]


async def test_two_thousand_slow_clients_are_sent_away_and_nobody_notices(
    identity: Serving, many_files: None
) -> None:
    began = time.monotonic()
    slow = [await connected(identity, said) for said in (b"", HEALTH) for _ in range(SLOW_CLIENTS // 2)]
    async with identity.http() as http:
        for _ in range(20):
            asked = time.monotonic()
            assert (await http.get("/health/live")).status_code == 200
            assert time.monotonic() - asked < HEAD_SECONDS / 2
    endings = await asyncio.gather(*(end_of(one, HEAD_SECONDS + 15) for one in slow))
    assert set(endings) == {b""}
    assert time.monotonic() - began >= HEAD_SECONDS - 1


async def test_drops_do_not_buy_time(identity: Serving) -> None:
    trickling_head = await connected(identity, HEALTH)
    never_ending_body = await connected(
        identity,
        # Refused at its head: nobody reads what follows, however long it drips.
        b"POST /mediterranee/token HTTP/1.1\r\nHost: elsewhere.test\r\nContent-Length: 60000\r\n\r\n",
    )
    second_head = await connected(identity, HEALTH + b"\r\n")
    await second_head[0].readuntil(b"\r\n\r\n")
    second_head[1].write(HEALTH)
    dripping = [
        asyncio.create_task(drip(connection, drop))
        for connection, drop in (
            (trickling_head, b"X-A: b\r\n"),
            (never_ending_body, b"x"),
            (second_head, b"X-A: b\r\n"),
        )
    ]
    try:
        head, body, second = await asyncio.gather(
            *(end_of(one, HEAD_SECONDS + 5) for one in (trickling_head, never_ending_body, second_head))
        )
    finally:
        for one in dripping:
            one.cancel()
    assert answered(head) == answered(second) == []
    assert answered(body) in ([], [400])  # what was sent after the end may have reset the connection


async def test_a_head_without_end_is_refused_and_not_kept(identity: Serving) -> None:
    assert identity.pid is not None
    before = psutil.Process(identity.pid).memory_info().rss
    endless = [await connected(identity, HEALTH + b"X-Endless: ") for _ in range(20)]
    for _, writer in endless:
        with suppress(ConnectionError):
            for _ in range(16):
                writer.write(b"x" * LARGEST_HEAD)
                await writer.drain()
    ended = await asyncio.gather(*(end_of(one, 5) for one in endless))
    assert all(answered(heard) in ([], [400]) for heard in ended)
    assert psutil.Process(identity.pid).memory_info().rss - before < 16 * 2**20


async def test_a_large_head_in_one_piece_is_refused_and_one_that_fits_is_not(identity: Serving) -> None:
    too_large = await connected(identity, HEALTH + b"X-A: " + b"x" * LARGEST_HEAD + b"\r\n\r\n")
    assert answered(await end_of(too_large, 5)) == [400]
    large = await connected(
        identity, HEALTH + b"Connection: close\r\nX-A: " + b"x" * (LARGEST_HEAD // 2) + b"\r\n\r\n"
    )
    assert answered(await end_of(large, 5)) == [200]


async def test_a_few_requests_sent_ahead_are_answered_in_order_and_a_flood_is_not(identity: Serving) -> None:
    missing = b"GET /nowhere HTTP/1.1\r\nHost: id.example.test\r\n"
    last = missing + b"Connection: close\r\n\r\n"
    few = await connected(identity, HEALTH + b"\r\n" + missing + b"\r\n" + HEALTH + b"\r\n" + last)
    assert answered(await end_of(few, 5)) == [200, 404, 200, 404]
    flood = await connected(identity, (HEALTH + b"\r\n") * (SENT_AHEAD * 20))
    assert len(answered(await end_of(flood, 5))) <= SENT_AHEAD + 1


TO_TOKEN = b"POST /mediterranee/token HTTP/1.1\r\nHost: id.example.test\r\n"


@pytest.mark.parametrize(
    "said",
    [
        TO_TOKEN + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
        TO_TOKEN + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        TO_TOKEN + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        TO_TOKEN + b"Content-Length: +4\r\n\r\nabcd",
        b"GET /health/live HTTP/1.1\r\nHost : id.example.test\r\n\r\n",
        HEALTH + b" folded: x\r\n\r\n",
        HEALTH + b"Host: evil.example\r\n\r\n",
        b"GET /health/live HTTP/1.1\nHost: id.example.test\n\n",
        b"GET /\xc3\xa9 HTTP/1.1\r\nHost: id.example.test\r\n\r\n",
        b"GET /health/live HTTP/9.1\r\nHost: id.example.test\r\n\r\n",
        b"CONNECT id.example.test:443 HTTP/1.1\r\nHost: id.example.test\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 40,
    ],
)
async def test_what_two_parsers_could_read_differently_is_refused(identity: Serving, said: bytes) -> None:
    """Request smuggling (RFC 9112 §11.2): refused, and the connection with it."""
    assert answered(await end_of(await connected(identity, said), 5)) == [400]


async def test_bytes_that_are_no_request_leave_no_trace(identity: Serving) -> None:
    for _ in range(5):
        await end_of(await connected(identity, b"\x00\x01\x02\r\n\r\n"), 5)
    upgrade = b"Connection: close, Upgrade\r\nUpgrade: h2c\r\n\r\n"
    assert answered(await end_of(await connected(identity, HEALTH + upgrade), 5)) == [200]
    assert not [line for line in identity.log() if "uvicorn" in line]

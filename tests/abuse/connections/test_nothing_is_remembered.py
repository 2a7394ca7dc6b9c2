"""What strangers write into forms, queries and cookies is gone with their request.

A real `espace serve identity`: the framework's readers remembered a thousand of each in the process that answers.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable

import psutil
import pytest
from msgspec.structs import replace

from libs.common.http.bounded_connection import LARGEST_HEAD
from libs.common.runtime.child_process import free_port
from libs.common.runtime.settings import Settings
from tests.faults.serving import Serving, serving

REQUESTS = 200
MOST_GROWTH = 48 * 2**20
"""Well under what so many took: 220 MB of forms, 120 of queries, 90 of cookies."""

POSTED = b" HTTP/1.1\r\nHost: id.example.test\r\nAccept: text/html\r\n"


@pytest.fixture(scope="module")
async def identity(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Serving]:
    section = replace(settings.identity, port=free_port())
    folder = tmp_path_factory.mktemp("served")
    async with serving("identity", replace(settings, identity=section), folder) as identity:
        yield identity


def fields(number: int, most: int) -> bytes:
    """Short names, each once: as many objects as so many bytes can ask for."""
    return b"&".join(b"%x" % name for name in range(number << 13, (number << 13) + most // 7))


def posted(said: bytes = b"", cookies: bytes = b"", query: bytes = b"") -> bytes:
    head = b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n" % len(said)
    browser = b"Cookie: __Host-espace-browser=" + secrets.token_urlsafe(16).encode() + cookies + b"\r\n"
    return b"POST /mediterranee/sign-in?" + query + POSTED + browser + head + b"\r\n" + said


def form(number: int) -> bytes:
    return posted(fields(number, 60_000))


def query(number: int) -> bytes:
    return posted(query=fields(number, LARGEST_HEAD - 2048))


def cookies(number: int) -> bytes:
    return posted(cookies=b";" + fields(number, LARGEST_HEAD - 6144).replace(b"&", b"=;") + b"=")


@pytest.mark.parametrize("request_of", [form, query, cookies])
async def test_a_process_keeps_nothing_of_them(identity: Serving, request_of: Callable[[int], bytes]) -> None:
    """Else a few megabytes a second were gigabytes, and a form's password stood in the memory for hours."""
    assert identity.pid is not None
    await send(identity, [request_of(number) for number in range(1, 6)])
    before = psutil.Process(identity.pid).memory_info().rss
    await send(identity, [request_of(number) for number in range(6, 6 + REQUESTS)])
    assert psutil.Process(identity.pid).memory_info().rss - before < MOST_GROWTH


async def send(identity: Serving, requests: list[bytes]) -> None:
    """One after another on one connection, each answered before the next."""
    host, _, port = identity.address.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for request in requests:
        writer.write(request)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
        assert head.startswith(b"HTTP/1.1 403"), head
        size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await asyncio.wait_for(reader.readexactly(size), 30)
    writer.close()

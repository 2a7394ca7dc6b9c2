"""Only the dropped file may be large: every other body keeps the limit of all (reliability.md §5)."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest

from libs.common.http.application import LARGEST_BODY
from services.documents.verification.check_file import AT_ONCE, BEING_READ, OF_ONE_NETWORK, WAITING
from services.documents.verification.routes import LARGEST_UPLOAD
from tests.documents.conftest import HERE

FORM = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "text/html"}


@pytest.mark.parametrize("path", [f"/{HERE}/verification"])
async def test_a_large_form_is_refused(documents_api: httpx.AsyncClient, path: str) -> None:
    answer = await documents_api.post(path, content=b"code=" + b"0" * 70_000, headers=FORM)
    assert answer.status_code == 413


async def test_a_dropped_file_may_be_large(documents_api: httpx.AsyncClient) -> None:
    sent = {"file": ("x.pdf", b"%PDF-1.7\n" + b"0" * 1_000_000, "application/pdf")}
    answer = await documents_api.post(
        f"/{HERE}/verification/file", files=sent, headers={"Accept": "text/html"}
    )
    assert answer.status_code == 404


async def test_a_file_beyond_its_limit_is_refused(documents_api: httpx.AsyncClient) -> None:
    sent = {"file": ("x.pdf", b"%PDF-1.7\n" + b"0" * 4_300_000, "application/pdf")}
    answer = await documents_api.post(
        f"/{HERE}/verification/file", files=sent, headers={"Accept": "text/html"}
    )
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("path", "kind", "length"),
    [
        ("verification", "application/x-www-form-urlencoded", LARGEST_BODY + 1),
        ("verification/file", "multipart/form-data; boundary=x", LARGEST_UPLOAD + 1),
        ("verification/file", "multipart/form-data; boundary=x", 10**12),
    ],
)
async def test_what_is_announced_too_large_is_refused_unread_and_says_what_to_do(
    documents_api: httpx.AsyncClient, path: str, kind: str, length: int
) -> None:
    async def never() -> AsyncGenerator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    headers = {"Content-Type": kind, "Content-Length": str(length), "Accept": "text/html"}
    answer = await documents_api.post(f"/{HERE}/{path}", content=never(), headers=headers)

    assert answer.status_code == 413
    assert "Envoi trop volumineux" in answer.text and "choisissez un fichier plus léger" in answer.text


PDF = {"file": ("x.pdf", b"%PDF-1.7\n" + b"0" * 100_000, "application/pdf")}
DROP = f"/{HERE}/verification/file"


def from_networks(api: httpx.AsyncClient, count: int) -> list[httpx.AsyncClient]:
    app: Any = api._transport.app  # type: ignore[attr-defined]
    return [
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app, client=(f"198.51.{n}.7", 4242)),
            base_url=api.base_url,
            timeout=60,
        )
        for n in range(count)
    ]


async def test_files_beyond_those_who_wait_are_refused(documents_api: httpx.AsyncClient) -> None:
    """What a process holds of strangers' files is bounded, and one network does not take it all."""
    crowd = from_networks(documents_api, 40)
    answers = await asyncio.gather(*(one.post(DROP, files=PDF) for one in crowd))
    seen = Counter(answer.status_code for answer in answers)
    # A few may come late enough to find a place given back.
    assert set(seen) == {404, 503} and seen[503] >= 40 - 2 * (AT_ONCE + WAITING), seen
    assert all(int(answer.headers["retry-after"]) > 0 for answer in answers if answer.status_code == 503)

    one = crowd[0]
    answers = await asyncio.gather(
        *(one.post(DROP, files=PDF) for _ in range(12)), crowd[1].post(DROP, files=PDF)
    )
    seen = Counter(answer.status_code for answer in answers[:-1])
    assert set(seen) == {404, 503} and seen[503] >= 12 - 2 * OF_ONE_NETWORK, seen
    assert answers[-1].status_code == 404

    # Places come back, whoever gave up included.
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await asyncio.gather(*(other.post(DROP, files=PDF) for other in crowd[:12]))
    assert (await one.post(DROP, files=PDF)).status_code == 404


class Held:
    """Uploads that were begun and send nothing more until `released`."""

    def __init__(self, api: httpx.AsyncClient) -> None:
        self._app: Any = api._transport.app  # type: ignore[attr-defined]
        self._host = api.base_url.host.encode()
        self.released = asyncio.Event()
        self.read = 0
        self._begun = asyncio.Semaphore(0)

    async def call(self, address: str) -> int:
        async def receive() -> dict[str, Any]:
            self.read += 1
            self._begun.release()
            await self.released.wait()
            return {"type": "http.disconnect"}

        status = 0

        async def send(message: Any) -> None:
            nonlocal status
            status = message.get("status", status)

        headers = [
            (b"host", self._host),
            (b"content-type", b"multipart/form-data; boundary=x"),
            (b"content-length", b"3000000"),
        ]
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
            "path": DROP, "raw_path": DROP.encode(), "query_string": b"", "root_path": "", "headers": headers,
            "client": (address, 1), "server": ("documents", 80),
        }  # fmt: skip
        await self._app(scope, receive, send)
        return status

    async def begun(self, *addresses: str) -> list[asyncio.Task[int]]:
        """As many of each address as one network may have, all of them being read.

        One after the other: together, on a busy machine, some wait too long for a connection to the database.
        """
        tasks: list[asyncio.Task[int]] = []
        for one in (address for address in addresses for _ in range(OF_ONE_NETWORK)):
            tasks.append(asyncio.create_task(self.call(one)))
            begun = asyncio.create_task(self._begun.acquire())
            await asyncio.wait({tasks[-1], begun}, return_when=asyncio.FIRST_COMPLETED)
            assert begun.done(), f"answered {tasks[-1].result()} before anything was read"
        return tasks


async def test_a_file_without_a_place_is_not_read(documents_api: httpx.AsyncClient) -> None:
    held = Held(documents_api)
    slow = await held.begun("203.0.113.5")
    read = held.read
    assert await held.call("203.0.113.9") == 503
    assert held.read == read
    held.released.set()
    await asyncio.gather(*slow, return_exceptions=True)


async def test_slow_files_of_some_networks_keep_nobody_elses_from_being_checked(
    documents_api: httpx.AsyncClient,
) -> None:
    """A body drop by drop lasts ten seconds: it takes no place among those who wait for a check."""
    held = Held(documents_api)
    slow = await held.begun(*(f"203.0.{n}.5" for n in range((AT_ONCE + WAITING) // OF_ONE_NETWORK)))
    (other,) = from_networks(documents_api, 1)
    assert (await other.post(DROP, files=PDF)).status_code == 404
    held.released.set()
    await asyncio.gather(*slow, return_exceptions=True)


async def test_what_is_read_at_once_of_all_networks_is_bounded(documents_api: httpx.AsyncClient) -> None:
    held = Held(documents_api)
    slow = await held.begun(*(f"203.0.{n}.5" for n in range(BEING_READ // OF_ONE_NETWORK)))
    read = held.read
    assert await held.call("198.51.100.9") == 503
    assert held.read == read
    held.released.set()
    await asyncio.gather(*slow, return_exceptions=True)
    (other,) = from_networks(documents_api, 1)
    assert (await other.post(DROP, files=PDF)).status_code == 404

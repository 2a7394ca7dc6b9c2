"""The load: raw HTTP/1.1 on kept connections, requests prepared beforehand, each answer checked.

Preparing (signatures, proofs, codes) happens before a window opens, so that the load generator only writes and
reads while it is timed.
"""

import asyncio
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from html import unescape
from typing import Any
from urllib.parse import urlencode

ANSWER_WITHIN = 15.0
"""Seconds before a silent server voids the window."""


class Wrong(Exception):
    """An answer that is not the one expected: the whole window is void."""


@dataclass(frozen=True)
class Answer:
    status: int
    head: bytes
    body: bytes

    def header(self, name: str) -> str:
        return next(iter(self.headers(name)), "")

    def headers(self, name: str) -> list[str]:
        wanted = name.lower()
        pairs = (line.partition(":") for line in self.head.decode("latin-1").split("\r\n")[1:])
        return [value.strip() for key, _, value in pairs if key.strip().lower() == wanted]

    def json(self) -> Any:
        return json.loads(self.body)


Check = Callable[[Answer], bool]


@dataclass(frozen=True)
class Prepared:
    """One request, ready to write, and what its answer must be."""

    raw: bytes
    check: Check
    then: "Callable[[Answer], Prepared] | None" = None
    """The next request of the same operation, made from the answer."""


def request(
    method: str, host: str, path: str, *, headers: dict[str, str] | None = None, form: Any = None
) -> bytes:
    """The bytes of one request; `form` becomes its body."""
    body = urlencode(form).encode() if form is not None else b""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}"]
    if form is not None:
        lines += ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def form_token(page: Answer) -> tuple[str, str]:
    """The browser's cookies and the CSRF token of a page of Espace with a form."""
    found = re.search(rb'name="csrf_token" value="([^"]+)"', page.body)
    assert found is not None, page.body[:300]
    cookies = "; ".join(line.partition(";")[0] for line in page.headers("set-cookie"))
    return cookies, unescape(found[1].decode())


class Connection(asyncio.Protocol):
    """One kept connection: one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._waiting: asyncio.Future[Answer] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        answer = self._whole()
        if answer is not None and self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(Wrong("the server closed the connection"))

    async def ask(self, raw: bytes) -> Answer:
        assert self._transport is not None
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(raw)
        return await self._waiting

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _whole(self) -> Answer | None:
        buffer = self._buffer
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = bytes(buffer[:end])
        status, low = int(head[9:12]), head.lower()
        at = low.find(b"content-length:")
        if at >= 0:
            stop = low.find(b"\r\n", at)
            length = int(low[at + 15 : stop if stop >= 0 else None])
            if len(buffer) < end + 4 + length:
                return None
            body = bytes(buffer[end + 4 : end + 4 + length])
        elif b"transfer-encoding: chunked" in low:
            chunks = _unchunked(bytes(buffer[end + 4 :]))
            if chunks is None:
                return None
            body = chunks
        else:
            body = b""
        buffer.clear()
        return Answer(status, head, body)


def _unchunked(text: bytes) -> bytes | None:
    parts, at = bytearray(), 0
    while True:
        line = text.find(b"\r\n", at)
        if line < 0:
            return None
        size = int(text[at:line], 16)
        if len(text) < line + 2 + size + 2:
            return None
        if size == 0:
            return bytes(parts)
        parts += text[line + 2 : line + 2 + size]
        at = line + 2 + size + 2


@dataclass
class Window:
    """What one timed window saw."""

    requests: int
    seconds: float
    latencies_ms: list[float] = field(default_factory=list[float])

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


async def connections(host: str, count: int) -> list[Connection]:
    name, _, port = host.partition(":")
    loop = asyncio.get_running_loop()
    return [(await loop.create_connection(Connection, name, int(port)))[1] for _ in range(count)]


async def ask_once(host: str, raw: bytes) -> Answer:
    """One request outside any window."""
    (one,) = await connections(host, 1)
    try:
        return await asyncio.wait_for(one.ask(raw), ANSWER_WITHIN)
    finally:
        one.close()


async def ask_each(host: str, raws: Sequence[bytes], *, at_once: int = 8) -> list[Answer]:
    """The answers to `raws`, in their order, unchecked and untimed."""
    pool, answers, numbered = await connections(host, at_once), [None] * len(raws), iter(enumerate(raws))
    found: list[Any] = answers

    async def work(one: Connection) -> None:
        for place, raw in numbered:
            found[place] = await asyncio.wait_for(one.ask(raw), ANSWER_WITHIN)

    try:
        await asyncio.gather(*(work(one) for one in pool))
    finally:
        for one in pool:
            one.close()
    return found


def checked(answer: Answer, prepared: Prepared) -> None:
    if not prepared.check(answer):
        raise Wrong(f"{answer.status} {answer.header('location')} {answer.body[:400]!r}")


async def _whole_operation(one: Connection, prepared: Prepared) -> None:
    following: Prepared | None = prepared
    while following is not None:
        answer = await one.ask(following.raw)
        checked(answer, following)
        following = following.then(answer) if following.then else None


class _Worker(Connection):
    """One connection of the closed loop: the next request leaves in the callback that read the last answer.

    No future and no task a request: at 20,000 answers a second those were half of the load generator's time.
    """

    def __init__(
        self, waiting: Iterator[Prepared], latencies: list[float], over: "asyncio.Future[None]"
    ) -> None:
        super().__init__()
        self._queue, self._latencies, self._over = waiting, latencies, over
        self._now: Prepared | None = None
        self._began = 0.0
        self._right: tuple[Prepared, bytes] | None = None
        """The last request checked, with its answer's body: the same bytes again need no second reading."""

    def begin(self) -> bool:
        """Whether there was an operation left to begin."""
        self._now = next(self._queue, None)
        if self._now is None:
            return False
        self._began = time.perf_counter()
        self._send(self._now)
        return True

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        answer = self._whole()
        if answer is None or self._now is None:
            return
        try:
            self._go_on(answer, self._now)
        except Exception as error:
            self._stop(error)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._now is not None:
            self._stop(Wrong("the server closed the connection"))

    def _send(self, prepared: Prepared) -> None:
        assert self._transport is not None
        self._transport.write(prepared.raw)

    def _go_on(self, answer: Answer, asked: Prepared) -> None:
        if self._right is None or self._right[0] is not asked or self._right[1] != answer.body:
            checked(answer, asked)
            self._right = (asked, answer.body) if answer.status == 200 else None
        elif answer.status != 200:
            raise Wrong(f"{answer.status} with the body of a right answer")
        following = asked.then(answer) if asked.then else None
        if following is not None:
            self._now = following
            self._send(following)
            return
        self._latencies.append((time.perf_counter() - self._began) * 1000)
        if not self.begin():
            self._stop(None)

    def _stop(self, error: Exception | None) -> None:
        self._now = None
        if self._over.done():
            return
        if error is not None:
            self._over.set_exception(error)
        else:
            self._over.set_result(None)


async def closed_loop(host: str, prepared: Iterable[Prepared], *, at_once: int) -> Window:
    """`at_once` connections, each asking again as soon as it is answered, until `prepared` is used up."""
    loop, name, port = asyncio.get_running_loop(), *host.split(":")
    waiting, latencies = iter(prepared), list[float]()
    pool: list[tuple[_Worker, asyncio.Future[None]]] = []
    for _ in range(at_once):
        over: asyncio.Future[None] = loop.create_future()
        worker = _Worker(waiting, latencies, over)
        await loop.create_connection(lambda one=worker: one, name, int(port))
        pool.append((worker, over))
    began = time.perf_counter()
    try:
        running = [over for worker, over in pool if worker.begin()]
        async with asyncio.timeout(120):
            await asyncio.gather(*running)
        return Window(len(latencies), time.perf_counter() - began, latencies)
    finally:
        for worker, over in pool:
            over.cancel()
            worker.close()


async def open_loop(
    host: str, prepared: Sequence[Prepared], *, per_second: float, at_most: int = 64
) -> Window:
    """Requests at fixed moments, whatever the answers do: a stall is counted in every request it delays."""
    idle: asyncio.Queue[Connection] = asyncio.Queue()
    pool = await connections(host, at_most)
    for one in pool:
        idle.put_nowait(one)
    latencies = list[float]()
    start = time.perf_counter() + 0.05

    async def fire(place: int, each: Prepared) -> None:
        due = start + place / per_second
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        one = await idle.get()
        await _whole_operation(one, each)
        # From the moment it was due, not from the moment a connection was free.
        latencies.append((time.perf_counter() - due) * 1000)
        idle.put_nowait(one)

    try:
        async with asyncio.timeout(120):
            await asyncio.gather(*(fire(place, each) for place, each in enumerate(prepared)))
        return Window(len(latencies), time.perf_counter() - start, latencies)
    finally:
        for one in pool:
            one.close()

"""PostgreSQL behind a proxy of ours, which holds a process at its nth write until the test has killed it.

Only what changes something is counted: each INSERT, UPDATE or DELETE that is executed,
and each COMMIT of a transaction that made one. The proxy reads the wire as the server
does (PostgreSQL, "Message Formats"), so that a place to die is a message, not a moment.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from enum import StrEnum
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

SSL_REQUEST = (80877103).to_bytes(4, "big")
WRITE = re.compile(r"\b(INSERT\s+INTO|UPDATE|DELETE\s+FROM)\s+([a-z_]+)")
READY_FOR_QUERY = b"Z\0\0\0\5"
MOST_AT_ONCE = 65_536


class Held(StrEnum):
    """On which side of a write the process is held, to die there."""

    BEFORE = "the server never got the message"
    AFTER = "the server did it, and its answer is lost"


class Place(NamedTuple):
    """The `nth` write (from 1) since the proxy was armed, and the side of it."""

    nth: int
    held: Held


def places_to_die(writes: Sequence[str]) -> list[Place]:
    """After each write; before it too where it opens a transaction's writes or commits them.

    Inside a transaction, before a write is after the one that came before: the server has
    been told the same, and is about to forget it.
    """
    return [
        Place(nth, held)
        for nth, write in enumerate(writes, 1)
        for held in Held
        if held is Held.AFTER or write == "COMMIT" or nth == 1 or writes[nth - 2] == "COMMIT"
    ]


class DatabaseProxy:
    """Passes everything on; `writes` names each write seen since the last `arm`."""

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        self._place: Place | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.writes: list[str] = []
        self.reached = asyncio.Event()
        """Set once a process stands at the place."""
        self.port = 0

    def arm(self, place: Place | None = None) -> None:
        """Count from here on, and hold whoever comes to `place`."""
        self._place, self.writes = place, []
        self.reached.clear()

    def in_front_of(self, dsn: str) -> str:
        """`dsn` with this proxy's address."""
        parts = urlsplit(dsn)
        user = parts.netloc.rpartition("@")[0]
        return urlunsplit(parts._replace(netloc=f"{user}@127.0.0.1:{self.port}"))

    def held_here(self, write: str) -> Held | None:
        """Note a write that is about to be passed on; whether its process is to be held, and how."""
        self.writes.append(write)
        if self._place is None or len(self.writes) != self._place.nth:
            return None
        return self._place.held

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of the process, until either side ends it."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(OSError):
                from_server, to_server = await asyncio.open_connection(*self._server)
                try:
                    await _Passage(self, writer, to_server).run(reader, from_server)
                finally:
                    to_server.close()
        finally:
            writer.close()
            self._tasks.discard(task)

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class _Passage:
    """Both directions of one connection."""

    def __init__(
        self, proxy: DatabaseProxy, to_process: asyncio.StreamWriter, to_server: asyncio.StreamWriter
    ) -> None:
        self._proxy, self._to_process, self._to_server = proxy, to_process, to_server
        self._wire = Wire()
        self._held: Held | None = None
        self._unheard = b""

    async def run(self, from_process: asyncio.StreamReader, from_server: asyncio.StreamReader) -> None:
        both = {
            asyncio.create_task(self._up(from_process)),
            asyncio.create_task(self._down(from_server)),
        }
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)

    async def _up(self, from_process: asyncio.StreamReader) -> None:
        # It ends when the process does: the server's side is then closed too, and PostgreSQL rolls back.
        while data := await from_process.read(MOST_AT_ONCE):
            for message, write in self._wire.messages(data):
                if write is not None and self._held is None:
                    self._held = self._proxy.held_here(write)
                    if self._held is Held.BEFORE:
                        self._proxy.reached.set()
                if self._held is not Held.BEFORE:
                    self._to_server.write(message)
            await self._to_server.drain()

    async def _down(self, from_server: asyncio.StreamReader) -> None:
        while data := await from_server.read(MOST_AT_ONCE):
            if self._held is None:
                self._to_process.write(data)
                await self._to_process.drain()
                continue
            self._unheard += data
            if self._unheard[-6:-1] == READY_FOR_QUERY and self._held is Held.AFTER:
                self._proxy.reached.set()


class Wire:
    """What a client sends, cut into messages; for those that write, what they write."""

    def __init__(self) -> None:
        self._buffer = b""
        self._is_started = False
        self._statements: dict[bytes, str] = {}
        self._has_written = False

    def messages(self, data: bytes) -> Iterator[tuple[bytes, str | None]]:
        """The whole messages that `data` completes, each with its write: `UPDATE account`, `COMMIT`, or None."""
        self._buffer += data
        while True:
            # The first messages of a connection have no type, only their length.
            start = 1 if self._is_started else 0
            if len(self._buffer) < start + 4:
                return
            size = start + int.from_bytes(self._buffer[start : start + 4], "big")
            if len(self._buffer) < size:
                return
            message, self._buffer = self._buffer[:size], self._buffer[size:]
            if self._is_started:
                yield message, self._write_of(message)
            else:
                self._is_started = message[4:8] != SSL_REQUEST
                yield message, None

    def _write_of(self, message: bytes) -> str | None:
        kind, body = message[:1], message[5:]
        if kind == b"P":
            name, sql, _ = body.split(b"\0", 2)
            self._statements[name] = sql.decode()
        elif kind == b"B":
            _, name, _ = body.split(b"\0", 2)
            return self._noted(self._statements[name])
        elif kind == b"Q":
            return self._noted(body.rstrip(b"\0").decode())
        return None

    def _noted(self, sql: str) -> str | None:
        if sql.startswith("BEGIN"):
            self._has_written = False
        if sql == "COMMIT":
            return sql if self._has_written else None
        found = None if sql.lstrip().startswith("SELECT") else WRITE.search(sql)
        if found is None:
            return None
        self._has_written = True
        return f"{found[1].split()[0]} {found[2]}"


@asynccontextmanager
async def database_proxy(dsn: str) -> AsyncGenerator[DatabaseProxy, None]:
    """A proxy on loopback before the server that `dsn` names."""
    parts = urlsplit(dsn)
    proxy = DatabaseProxy((parts.hostname or "127.0.0.1", parts.port or 5432))
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.end()

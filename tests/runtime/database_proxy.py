"""A wire between a service and PostgreSQL that can be held just before any statement, or just before its answer.

It reads the frontend half of the protocol (PostgreSQL 18, "Message Formats") only far enough to know where one
statement ends and the next begins: Query, Parse, Bind, Execute.
"""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

SSL_REQUEST = 80877103


class DatabaseProxy:
    """Holds the wire at the `nth` statement sent from then on, over all connections."""

    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self._nth = 0
        self._is_answer_held = False
        self._wires: set[asyncio.Task[None]] = set()
        self.port = 0
        self.held = asyncio.Event()
        self.sent: list[str] = []
        """The statements sent since then, the one held last."""

    def address(self, dsn: str) -> str:
        """`dsn`, by way of this proxy."""
        parts = urlsplit(dsn)
        return urlunsplit(parts._replace(netloc=f"{parts.netloc.rpartition(':')[0]}:{self.port}"))

    def hold_before(self, nth: int) -> None:
        """PostgreSQL will not see the `nth` statement."""
        self._nth, self.sent, self.held, self._is_answer_held = nth, [], asyncio.Event(), False

    def hold_answer(self, nth: int) -> None:
        """PostgreSQL will have done the `nth` statement; nobody will be told."""
        self.hold_before(nth)
        self._is_answer_held = True

    def counting(self) -> None:
        """Hold nothing, note what is sent."""
        self.hold_before(-1)

    def writes(self) -> list[int]:
        """Where a death matters, among what was sent: before each write and each COMMIT.

        Dying before a read, or before BEGIN, leaves what dying after the statement before it leaves.
        """
        return [nth for nth, sql in enumerate(self.sent, 1) if not sql.startswith(("SELECT", "BEGIN"))]

    async def cut(self) -> None:
        """What the kernel does for a process that is gone: every connection ends. Then nothing is held."""
        self._nth = 0
        for wire in self._wires:
            wire.cancel()
        await asyncio.gather(*self._wires, return_exceptions=True)

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either end closes it."""
        wire = asyncio.current_task()
        assert wire is not None
        self._wires.add(wire)
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        silence = asyncio.Event()
        answers = asyncio.create_task(self._answers(server_reader, writer, silence))
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                await self._questions(reader, server_writer, silence)
        except asyncio.CancelledError:
            pass  # cut: the server of asyncio would report it
        finally:
            answers.cancel()
            writer.close()
            server_writer.close()
            self._wires.discard(wire)

    async def _questions(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, silence: asyncio.Event
    ) -> None:
        code = SSL_REQUEST
        while code == SSL_REQUEST:
            head = await reader.readexactly(8)
            length, code = struct.unpack("!II", head)
            writer.write(head + await reader.readexactly(length - 8))
        statements: dict[bytes, str] = {}
        portals: dict[bytes, str] = {}
        while True:
            head = await reader.readexactly(5)
            kind, length = struct.unpack("!cI", head)
            body = await reader.readexactly(length - 4)
            if kind == b"P":
                name, text, _ = body.split(b"\0", 2)
                statements[name] = text.decode()
            elif kind == b"B":
                portal, name, _ = body.split(b"\0", 2)
                portals[portal] = statements[name]
            elif kind == b"Q":
                await self._pass(body.rstrip(b"\0").decode(), silence)
            elif kind == b"E":
                await self._pass(portals[body.split(b"\0", 1)[0]], silence)
            writer.write(head + body)
            await writer.drain()

    async def _answers(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, silence: asyncio.Event
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                if silence.is_set():
                    self.held.set()
                    continue
                writer.write(data)
                await writer.drain()
            writer.close()

    async def _pass(self, statement: str, silence: asyncio.Event) -> None:
        if not self._nth:
            return
        self.sent.append(" ".join(statement.split()))
        if len(self.sent) == self._nth:
            if self._is_answer_held:
                silence.set()
                return
            self.held.set()
            await asyncio.Event().wait()


@asynccontextmanager
async def database_proxy(upstream: int) -> AsyncIterator[DatabaseProxy]:
    """A proxy before the PostgreSQL on loopback port `upstream`, for the length of a block."""
    proxy = DatabaseProxy(upstream)
    server = await asyncio.start_server(proxy.carry, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.cut()

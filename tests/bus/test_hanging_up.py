"""A link that is given up while it is being made."""

import asyncio
import contextlib

import msgspec
import pytest

from libs.common.bus.connection import Bus
from libs.common.runtime.settings import NatsSettings, Settings
from tests.conftest import Servers


@contextlib.asynccontextmanager
async def a_wire_that_tells_of_pong(upstream: int, told: asyncio.Event):
    """A port that leads to the broker and sets `told` as the answer that makes the link passes."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection("127.0.0.1", upstream)

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter, sign: bytes) -> None:
            with contextlib.suppress(ConnectionError):
                while data := await source.read(65536):
                    sink.write(data)
                    if sign and sign in data:
                        told.set()
            sink.close()

        await asyncio.gather(copy(reader, ours, b""), copy(theirs, writer, b"PONG"))

    server = await asyncio.start_server(carry, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.mark.parametrize("turns", range(10))
async def test_given_up_at_the_very_moment_it_is_made_it_ends(
    settings: Settings, servers: Servers, turns: int
):
    """`wait_for` of Python 3.11 loses a cancellation that comes with its result: a worker then outlived its SIGTERM."""
    told = asyncio.Event()
    async with a_wire_that_tells_of_pong(servers.nats.port, told) as port:
        near = msgspec.structs.replace(settings, nats=NatsSettings(url=f"nats://127.0.0.1:{port}"))
        bus = Bus.of(near, "identity")
        bus.start()
        await told.wait()
        for _ in range(turns):
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await bus.close()
    assert not bus.connected

"""An ASGI application behind our connections, at an address of its own."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from uvicorn import Config, Server

from libs.common.http.bounded_connection import BoundedConnection

App = Callable[[Any, Any, Any], Awaitable[None]]


@asynccontextmanager
async def answering(app: App) -> AsyncGenerator[tuple[str, int], None]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = Server(
            Config(
                app,
                http=BoundedConnection,
                ws="none",
                interface="asgi3",
                lifespan="off",
                log_config=None,
                timeout_graceful_shutdown=1,
            )
        )
        serving = asyncio.create_task(server.serve([listening]))
        await _until_it_listens(listening)
        try:
            yield listening.getsockname()
        finally:
            server.should_exit = True
            await serving


async def _until_it_listens(listening: socket.socket) -> None:
    for _ in range(200):
        try:
            _, writer = await asyncio.open_connection(*listening.getsockname())
        except ConnectionError:
            await asyncio.sleep(0.01)
        else:
            writer.close()
            return

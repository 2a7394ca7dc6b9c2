"""The serving process itself, `espace serve NAME`, on a test's database, to be killed and started again."""

import asyncio
import os
import signal
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec

from libs.common.runtime.child_process import free_port
from libs.common.runtime.settings import Settings, to_toml
from tests.runtime.database_proxy import DatabaseProxy
from tests.runtime.running import ESPACE, ROOT, clean_environment


class ByPort(httpx.AsyncHTTPTransport):
    """Requests for public addresses go to a port of this machine, in plain http, as a proxy would send them."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        # The Host header stays what the caller asked for.
        request.url = request.url.copy_with(scheme="http", host="127.0.0.1", port=self._port)
        return await super().handle_async_request(request)


@dataclass
class Serving:
    """One service, told `settings`; its database is reached at `dsn`."""

    name: str
    settings: Settings
    dsn: str
    folder: Path
    port: int = field(default_factory=free_port)
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Returns once it answers; not once it has heard the revocations, which no worker tells here."""
        section = msgspec.structs.replace(
            self.settings.service(self.name), dsn=self.dsn, host="127.0.0.1", port=self.port
        )
        config = self.folder / f"{self.name}.toml"
        config.write_text(to_toml(msgspec.structs.replace(self.settings, **{self.name: section})))
        log = (self.folder / f"serve-{self.name}.log").open("ab")
        self.process = await asyncio.create_subprocess_exec(
            *ESPACE,
            "--config",
            str(config),
            "serve",
            self.name,
            cwd=ROOT,
            env=clean_environment(),
            stdout=log,
            stderr=log,
            process_group=0,
        )
        log.close()
        async with asyncio.timeout(60):
            while not await self._lives():
                assert self.process.returncode is None, self.said()
                await asyncio.sleep(0.02)

    async def kill(self) -> None:
        """SIGKILL to the server and its worker: no handler, no farewell, no rollback of ours."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        await self.process.wait()

    def said(self) -> str:
        return (self.folder / f"serve-{self.name}.log").read_text("utf-8")

    def transport(self) -> ByPort:
        return ByPort(self.port)

    async def _lives(self) -> bool:
        base = self.settings.service(self.name).base
        try:
            async with httpx.AsyncClient(transport=self.transport()) as http:
                return (await http.get(f"{base}/health/live")).status_code == 200
        except httpx.TransportError:
            return False


async def killed_when_held(
    serving: Serving, proxy: DatabaseProxy, asking: Coroutine[Any, Any, httpx.Response]
) -> httpx.Response | None:
    """Ask; once the wire is held, kill the process and start it again. The answer, when there was one instead."""
    asked, held = asyncio.create_task(asking), asyncio.create_task(proxy.held.wait())
    await asyncio.wait({held, asked}, return_when=asyncio.FIRST_COMPLETED)
    held.cancel()
    if asked.done():
        return asked.result()
    await serving.kill()
    await proxy.cut()
    assert isinstance((await asyncio.gather(asked, return_exceptions=True))[0], httpx.TransportError)
    await serving.start()
    return None

"""A service as it is served: `espace serve NAME` in a process group of its own, which a test kills whole."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil

from libs.common.runtime.settings import Settings, to_environment
from tests.faults.database_proxy import DatabaseProxy, Place
from tests.runtime.running import ESPACE, ROOT, clean_environment

START_SECONDS = 60.0
REACH_SECONDS = 30.0


class Serving:
    """`espace serve name`, started again as often as it is killed, always at the same address."""

    def __init__(self, name: str, settings: Settings, log: Path, *options: str) -> None:
        section = settings.service(name)
        self._options = options
        self.name, self.base, self._log = name, section.base, log
        self.address = f"http://127.0.0.1:{section.port}"
        self._environment = clean_environment() | to_environment(settings)
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Returns once it answers its health check."""
        with self._log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *ESPACE[1:],
                "serve",
                self.name,
                *self._options,
                cwd=ROOT,
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        async with asyncio.timeout(START_SECONDS), self.http() as http:
            while True:
                assert self._process.returncode is None, self._log.read_text("utf-8")[-3000:]
                with suppress(httpx.HTTPError):
                    if (await http.get("/health/live")).status_code == 200:
                        return
                await asyncio.sleep(0.02)

    def http(self, **headers: str) -> httpx.AsyncClient:
        """A client of this very process, under the service's public name."""
        headers["host"] = urlsplit(self.base).netloc
        return httpx.AsyncClient(base_url=self.address, headers=headers, trust_env=False, timeout=30)

    @property
    def pid(self) -> int:
        """The server's; with `--workers`, that of the process above those that answer."""
        assert self._process is not None
        return self._process.pid

    def log(self) -> list[str]:
        """The lines it has written."""
        return self._log.read_text("utf-8").splitlines()

    async def ended(self, within: float) -> int:
        """Its exit code, once it has ended by itself; minus the signal's number when one ended it."""
        assert self._process is not None
        return await asyncio.wait_for(self._process.wait(), within)

    async def kill(self) -> None:
        """SIGKILL to its whole group; returns once none of it is left."""
        assert self._process is not None
        group = self._process.pid
        family = [psutil.Process(group), *psutil.Process(group).children(recursive=True)]
        os.killpg(group, signal.SIGKILL)
        await self._process.wait()
        _, alive = await asyncio.to_thread(psutil.wait_procs, family, 10)
        assert alive == []
        self._process = None

    async def end(self) -> None:
        if self._process is not None and self._process.returncode is None:
            await self.kill()

    async def killed_at(
        self, proxy: DatabaseProxy, place: Place, asked: "asyncio.Task[httpx.Response]"
    ) -> None:
        """Kill it once it stands at `place`; `asked` is the request under way, whose answer never comes."""
        reaching = asyncio.create_task(proxy.reached.wait())
        await asyncio.wait({reaching, asked}, timeout=REACH_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if not proxy.reached.is_set():
            reaching.cancel()
            said = (await asked).text if asked.done() else "nothing"
            raise AssertionError(f"{place} was not reached: {proxy.writes}; it answered {said[:500]}")
        await self.kill()
        [outcome] = await asyncio.gather(asked, return_exceptions=True)
        assert isinstance(outcome, httpx.TransportError), f"an answer came from the dead: {outcome}"
        proxy.arm()


@asynccontextmanager
async def serving(
    name: str, settings: Settings, folder: Path, *options: str
) -> AsyncGenerator[Serving, None]:
    """The service, started, and none of it left afterwards."""
    served = Serving(name, settings, folder / f"{name}.log", *options)
    try:
        await served.start()
        yield served
    finally:
        await served.end()

"""A process that is told to end while a finalizer runs, where nothing that is raised is heard."""

import asyncio
import os
import signal
import sys
from typing import Any

from libs.common.runtime.serve import answer
from libs.common.runtime.settings import Settings, load_settings
from libs.common.runtime.side_by_side import end_when_told
from libs.common.runtime.work import until_told


class Finalized:
    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)


def create_app(_: Settings) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        while scope["type"] == "lifespan":
            asked = await receive()
            await send({"type": f"{asked['type']}.complete"})

    Finalized()
    return app


async def work(_: Settings, stop: asyncio.Event) -> None:
    await stop.wait()


if __name__ == "__main__":
    settings = load_settings()
    if sys.argv[1] == "serve":
        answer(f"{__spec__.name}:create_app", "identity", "127.0.0.1", 0, settings)
    else:
        end_when_told()
        Finalized()
        asyncio.run(until_told(work, settings))

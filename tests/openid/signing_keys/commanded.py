"""`espace keys` as an operator runs it: a process of its own."""

import asyncio
import subprocess

from libs.common.runtime.settings import Settings, to_environment
from tests.runtime.running import ESPACE, PATIENCE, ROOT, clean_environment


async def commanded(settings: Settings, *words: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(
        subprocess.run,
        [*ESPACE, "keys", *words],
        cwd=ROOT,
        env=clean_environment() | to_environment(settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )

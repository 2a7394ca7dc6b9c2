"""A whole Espace, started as anyone would start it, and people in front of it.

`JOURNEY_READY_FILE` names an Espace that already runs, so that one may look at the journey without waiting.
`JOURNEY_SCREENS` names a folder where every page seen is kept as a picture, at three widths.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, async_playwright

from tests.browser import chromium
from tests.runtime.running import free_port_base

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 240
STOP_SECONDS = 30


@pytest.fixture(scope="session")
def espace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The ready file of a running Espace with its demonstration data."""
    if named := os.environ.get("JOURNEY_READY_FILE"):
        yield json.loads(Path(named).read_text("utf-8"))
        return
    folder = tmp_path_factory.mktemp("espace")
    ready = folder / "ready.json"
    command = [sys.executable, "-m", "libs.common.runtime.cli", "up"]
    command += [
        "--data",
        str(folder / "data"),
        "--port-base",
        str(free_port_base()),
        "--ready-file",
        str(ready),
    ]
    log = folder / "up.log"
    with log.open("wb") as output:
        running = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield _awaited(running, ready, log)
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait(STOP_SECONDS)


def _awaited(running: "subprocess.Popen[bytes]", ready: Path, log: Path) -> dict[str, Any]:
    deadline = time.monotonic() + START_SECONDS
    while not ready.exists():
        if running.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"espace up did not become ready:\n{log.read_text('utf-8')[-3000:]}")
        time.sleep(0.1)
    return json.loads(ready.read_text("utf-8"))


@pytest.fixture(scope="session")
async def running_browser() -> AsyncIterator[Browser]:
    named = chromium()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=named.executable,
            env=dict(named.environment),
            args=named.arguments,
        )
        yield browser
        await browser.close()

"""NATS is transport, never truth: the journey goes on without it, up to what only it can carry."""

import json
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.demonstration import journey
from services.demonstration.journey import Journey
from services.demonstration.story import read_ready_file
from services.demonstration.visitor import Visitor

WITHOUT_NATS = (
    journey.receive_two_letters,
    journey.open_the_account,
    journey.follow_the_link,
    journey.sign_in,
    journey.look_at_home,
    journey.delegate,
    journey.accept,
    journey.act_for_the_firm,
    journey.obtain_an_attestation,
    journey.verify_in_public,
)
"""Everything but the revocation, whose second is a promise of the broker and of its silence (delegation.md §4)."""


@pytest.fixture
async def walked(espace: dict[str, Any], tmp_path: Path) -> AsyncIterator[Journey]:
    path = tmp_path / "ready.json"
    path.write_text(json.dumps(espace), "utf-8")
    running = read_ready_file(path)
    async with (
        httpx.AsyncClient(verify=running.tls, timeout=15, trust_env=False) as http,
        Visitor(tls=running.tls) as firm,
        Visitor(tls=running.tls, stop_at="https://logiciel.") as collaborator,
    ):
        yield Journey(running, http, firm, collaborator)


@contextmanager
def frozen_broker(espace: dict[str, Any]) -> Iterator[None]:
    """Stop nats-server in its tracks: connections stay open and silent, the worst way to be away."""
    pid = broker_pid(Path(espace["data"]))
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def broker_pid(data: Path) -> int:
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            command = (folder / "cmdline").read_bytes().decode("utf-8", "replace")
        except OSError:
            continue
        if "nats-server" in command and str(data) in command:
            return int(folder.name)
    raise AssertionError(f"no nats-server runs for {data}")


async def test_letters_to_attestation_without_nats(espace: dict[str, Any], walked: Journey) -> None:
    with frozen_broker(espace):
        for step in WITHOUT_NATS:
            await step(walked)


async def test_a_revocation_without_nats_is_never_ignored(espace: dict[str, Any], walked: Journey) -> None:
    for step in WITHOUT_NATS:
        await step(walked)
    with frozen_broker(espace):
        began = time.monotonic()
        # The firm's click is answered, and no service believes the token on old knowledge: it asks identity.
        await journey.revoke(walked)
        assert time.monotonic() - began < 15

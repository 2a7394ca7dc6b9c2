"""Node programs beside these tests, each the life of one client."""

import asyncio
import json
import os
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser import node
from tests.openid.running import RunningEspace

HERE = Path(__file__).parent
SECONDS = 90

Flow = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
def flow(running_espace: RunningEspace) -> Flow:
    """`flow("with_x", profile=…, …)`: run `with_x.mjs` against the running Espace; what it printed last."""

    async def play(program: str, **told: Any) -> dict[str, Any]:
        told = {
            "issuer": running_espace.issuer,
            "invitation": running_espace.invitations[told["profile"]],
            **await running_espace.member(),
            **told,
        }
        # The only thing Node is told about trust: one more authority. Nothing else is relaxed.
        environment = {**os.environ, "NODE_EXTRA_CA_CERTS": str(running_espace.authority)}
        environment.pop("NODE_TLS_REJECT_UNAUTHORIZED", None)
        command = [node(), str(HERE / f"{program}.mjs"), json.dumps(told)]
        done = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, env=environment, timeout=SECONDS
        )
        assert done.returncode == 0, f"{told['name']}\n{done.stderr[-6000:]}"
        return json.loads(done.stdout.splitlines()[-1])

    return play

"""docs/how-to/sign-in-from-your-application.md: its description registers, its program signs somebody in and out."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import NamedTuple

import pytest

from libs.common.runtime.child_process import free_port
from tests.browser import ROOT, node
from tests.bus.conftest import until
from tests.openid.npm.conftest import SECONDS, Flow
from tests.openid.running import CAISSE, RunningEspace
from tests.runtime.running import espace as run_espace

PAGE = (ROOT / "docs" / "how-to" / "sign-in-from-your-application.md").read_text("utf-8")


SHORT_LIVED = """
const told = globalThis.fetch
globalThis.fetch = async (...asked) => {
  const answer = await told(...asked)
  const grant = asked[1]?.body?.get?.('grant_type')
  if (!grant) return answer
  const { expires_in, ...tokens } = await answer.json()
  console.log(grant, expires_in)
  return new Response(JSON.stringify({ ...tokens, expires_in: 10 }), answer)
}
"""
"""To the program each access token seems to be at its end: it refreshes before each call."""


class Program(NamedTuple):
    """The page's program, running, and the name it was registered under."""

    process: subprocess.Popen[str]
    client_id: str


def blocks(language: str) -> list[str]:
    """Those of the page in that language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def ended(started: subprocess.Popen[str]) -> str:
    """What it said until now; once it has ended, nothing."""
    if started.poll() is not None:
        return ""
    os.killpg(started.pid, signal.SIGKILL)
    said, _ = started.communicate()
    return said


@pytest.fixture
def base() -> str:
    """Where the program answers, as its people see it: this installation believes plain http on its own machine."""
    return f"http://localhost:{free_port()}"


@pytest.fixture
def program(running_espace: RunningEspace, base: str, tmp_path: Path) -> Iterator[Program]:
    """The page's program, registered as the page says."""
    make_key, signs_in = blocks("js")
    (described,) = blocks("json")
    (tmp_path / "node_modules").symlink_to(ROOT / "node_modules")
    (tmp_path / "make_key.mjs").write_text(make_key)
    (tmp_path / "program.mjs").write_text(signs_in)
    (tmp_path / "short_lived.mjs").write_text(SHORT_LIVED)
    made = subprocess.run(
        [node(), "make_key.mjs"], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=SECONDS
    )
    client = json.loads(described.replace("https://app.example", base))
    client["jwks"]["keys"] = [json.loads(made.stdout)]
    (tmp_path / "application.json").write_text(json.dumps(client))
    added = run_espace(
        "--config", running_espace.ready["config"],
        "client", "add", CAISSE, str(tmp_path / "application.json"), "--json",
    )  # fmt: skip
    assert added.returncode == 0, added.stdout + added.stderr
    client_id = json.loads(added.stdout)["client_id"]
    started = subprocess.Popen(
        [node(), "--import", "./short_lived.mjs", "program.mjs"],
        cwd=tmp_path,
        env={
            **os.environ,
            "NODE_EXTRA_CA_CERTS": str(running_espace.authority),
            "ISSUER": running_espace.issuer,
            "CLIENT_ID": client_id,
            "KEY": "key.json",
            "BASE": base,
            "PORT": base.rpartition(":")[2],
        },
        stdout=subprocess.PIPE,
        text=True,
        # The wheel's `node` is a program that starts Node.
        start_new_session=True,
    )
    try:
        assert started.stdout and started.stdout.readline().strip() == "ready"
        yield Program(started, client_id)
    finally:
        ended(started)


async def took_its_logout(espace: RunningEspace, client_id: str) -> bool:
    async with espace.db.transaction(espace.caisse) as tx:
        return await tx.fetchval(
            "SELECT EXISTS (SELECT FROM logout_delivery WHERE client_id = $1 AND delivered_at IS NOT NULL)",
            client_id,
        )


async def test_the_page_s_program_lives_a_whole_session(
    program: Program, flow: Flow, base: str, running_espace: RunningEspace
) -> None:
    lived = await flow("how_to", name="how-to", profile="standard", base=base)

    assert lived["me"]["person"]["email"].endswith("@entreprise.example")
    assert lived["again"] == lived["me"]
    assert lived["pages"] == ["sign-in", "authorize/consent"], "the second tab asks for nothing"
    assert "request_uri=" in lived["step_up"]["asked"], "an API wants a second step: asked, and pushed"
    shown = unescape(lived["step_up"]["shown"])
    assert "Pour continuer vers Application des Compagnons" in shown
    assert f'value="{lived["me"]["person"]["email"]}"' in shown
    assert lived["goodbye"] == "Vous êtes déconnecté."
    assert lived["other_tab"]["status"] == 303, "its session is over too"
    await until(lambda: took_its_logout(running_espace, program.client_id), within=timedelta(seconds=60))
    assert (lived["planted"], lived["no_token"]) == (400, 400)
    assert "refresh_token 600" in ended(program.process)

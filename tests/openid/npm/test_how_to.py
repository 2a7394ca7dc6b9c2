"""docs/how-to/sign-in-from-your-application.md: its description registers, its program signs somebody in and out."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest

from libs.common.runtime.child_process import free_port
from tests.browser import ROOT, node
from tests.openid.npm.conftest import SECONDS, Flow
from tests.openid.running import CAISSE, RunningEspace
from tests.runtime.running import espace as run_espace

PAGE = (ROOT / "docs" / "how-to" / "sign-in-from-your-application.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    """Those of the page in that language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def base() -> str:
    """Where the program answers, as its people see it: this installation believes plain http on its own machine."""
    return f"http://localhost:{free_port()}"


@pytest.fixture
def program(running_espace: RunningEspace, base: str, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """The page's program, registered as the page says."""
    make_key, signs_in = blocks("js")
    (described,) = blocks("json")
    (tmp_path / "node_modules").symlink_to(ROOT / "node_modules")
    (tmp_path / "make_key.mjs").write_text(make_key)
    (tmp_path / "program.mjs").write_text(signs_in)
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
    started = subprocess.Popen(
        [node(), "program.mjs"],
        cwd=tmp_path,
        env={
            **os.environ,
            "NODE_EXTRA_CA_CERTS": str(running_espace.authority),
            "ISSUER": running_espace.issuer,
            "CLIENT_ID": json.loads(added.stdout)["client_id"],
            "KEY": "key.json",
            "BASE": base,
            "PORT": base.rpartition(":")[2],
        },
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert started.stdout and started.stdout.readline().strip() == "ready"
        yield started
    finally:
        started.kill()
        started.wait()


async def test_the_page_s_program_lives_a_whole_session(
    program: subprocess.Popen[str], flow: Flow, base: str
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
    assert lived["other_tab"]["status"] == 303, "told through the back channel"
    assert (lived["planted"], lived["no_token"]) == (400, 400)

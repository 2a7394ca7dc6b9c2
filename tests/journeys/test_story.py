"""`espace story` against a running Espace, and the tutorial as a reader would follow it."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.demonstration.story import NO_ESPACE, NOT_HELD, STEPS

ROOT = Path(__file__).resolve().parents[2]
TUTORIAL = (ROOT / "docs" / "tutorial" / "first-minute.md").read_text("utf-8")
DEFAULT_BASE = 8400
DEADLINE = 120


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "libs.common.runtime.cli", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE, check=False)


@pytest.fixture(scope="module")
def ready_file(espace: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("story") / "ready.json"
    path.write_text(json.dumps(espace), "utf-8")
    return path


def test_every_step_of_the_story_holds(ready_file: Path) -> None:
    played = run("story", "--json", "--ready-file", str(ready_file))

    told = json.loads(played.stdout)
    assert [step["name"] for step in told["steps"]] == [step.name for step in STEPS], told
    assert told["ok"]
    assert played.returncode == 0
    assert max(told["steps"][-1]["refused_after_ms"].values()) < 1000


def test_a_step_that_does_not_hold_is_told(espace: dict[str, Any], tmp_path: Path) -> None:
    nobody_left = tmp_path / "ready.json"
    nobody_left.write_text(json.dumps({**espace, "demo": {**espace["demo"], "fresh_adherents": []}}), "utf-8")

    played = run("story", "--json", "--ready-file", str(nobody_left))

    assert played.returncode == NOT_HELD
    assert json.loads(played.stdout)["steps"][0]["ok"] is False


def test_without_an_espace_the_story_says_what_to_do(tmp_path: Path) -> None:
    played = run("story", "--json", "--ready-file", str(tmp_path / "absent.json"))

    assert played.returncode == NO_ESPACE
    assert "make up" in json.loads(played.stdout)["error"]
    assert "Traceback" not in played.stderr


def test_the_tutorial_s_addresses_answer(espace: dict[str, Any]) -> None:
    base = int(espace["portal"].rsplit(":", 1)[1])
    addresses = re.findall(r"http://localhost:(\d+)(/[\w./-]*)?", TUTORIAL)

    assert len(addresses) >= 3
    for port, path in addresses:
        answer = httpx.get(
            f"http://localhost:{base + int(port) - DEFAULT_BASE}{path}", headers={"Accept": "text/html"}
        )
        assert answer.status_code == 200, (port, path)


def test_the_tutorial_s_commands_exist() -> None:
    commands = [
        line for block in re.findall(r"```sh\n(.*?)```", TUTORIAL, re.DOTALL) for line in block.splitlines()
    ]

    assert commands == ["make up", ".venv/bin/espace story --json"]
    assert re.search(r"^up:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert run("story", "--help").returncode == 0

"""What cannot be undone asks whoever sits at a terminal, and no script."""

import os
import pty
import subprocess
from pathlib import Path

import pytest

from tests.runtime.running import ESPACE, ROOT, clean_environment, espace

DISABLE = ("client", "disable", "mediterranee", "portal")


@pytest.fixture
def config(tmp_path: Path) -> list[str]:
    """Settings that name no database: whoever is not asked is told so (3), and nothing is done."""
    path = tmp_path / "espace.toml"
    path.write_text("")
    return ["--config", str(path)]


def test_no_said_at_a_terminal_changes_nothing(config: list[str]):
    ours, theirs = pty.openpty()
    asked = subprocess.Popen(
        [*ESPACE, *config, *DISABLE],
        cwd=ROOT,
        env=clean_environment(),
        stdin=theirs,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.write(ours, b"n\n")
    _, said = asked.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert asked.returncode == 130
    assert "pour toujours" in said


@pytest.mark.parametrize("sure", [[], ["--yes"]])
def test_a_script_is_not_asked(config: list[str], sure: list[str]):
    told = espace(*config, *DISABLE, *sure, stdin=subprocess.DEVNULL)
    assert told.returncode == 3
    assert "identity.dsn" in told.stderr

"""The command line is one tongue: `--json` everywhere, one look of help, and remedies that can be typed."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import rich_click

from services.registry import COMMANDS, entry_point

ROOT = Path(__file__).resolve().parents[2]
STAY = ("espace up", "espace serve", "espace work", "espace mail-catcher")
"""Commands that run until they are told to stop: they answer in their log."""
SAID_IN = sorted(
    [
        ROOT / "README.md",
        ROOT / "docker-compose.yml",
        *(path for path in (ROOT / "docs").rglob("*.md")),
        *(path for folder in ("libs", "services") for path in (ROOT / folder).rglob("*.py")),
    ]
)
NOUN_VERB = re.compile(
    r"(?:`|« |\(|\$ (?:\.venv/bin/)?|--rm operator )espace(?: --config \S+)? ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?"
)


def every_command() -> Iterator[tuple[str, click.Command]]:
    for row in COMMANDS:
        if row.is_hidden:
            continue
        command = entry_point(row.command)
        if isinstance(command, click.Group):
            yield from ((f"espace {row.name} {verb}", inner) for verb, inner in command.commands.items())
        else:
            yield f"espace {row.name}", command


@pytest.mark.parametrize(
    ("words", "command"), [*every_command()], ids=lambda one: one if isinstance(one, str) else ""
)
def test_it_answers_in_json_and_its_help_looks_like_the_others(words: str, command: click.Command) -> None:
    assert isinstance(command, rich_click.RichCommand)
    assert command.help
    if words not in STAY:
        assert any("--json" in option.opts for option in command.params)


def test_a_command_that_a_sentence_names_can_be_typed() -> None:
    groups = {row.name: entry_point(row.command) for row in COMMANDS}
    unknown: set[tuple[str, str]] = set()
    for path in SAID_IN:
        for noun, verb in NOUN_VERB.findall(path.read_text("utf-8")):
            group = groups.get(noun)
            if group is None or (isinstance(group, click.Group) and verb and verb not in group.commands):
                unknown.add((str(path.relative_to(ROOT)), f"espace {noun} {verb}".strip()))
    assert sorted(unknown) == []

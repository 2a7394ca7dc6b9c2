"""Every command that is told a caisse: one that does not exist is refused, and the sentence says what to do."""

import asyncio
import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from libs.common.runtime.settings import Settings, to_environment
from services.identity.letters.commands import letters
from services.identity.openid.commands import client
from services.identity.signing_keys.commands import keys
from services.legacy_import.commands import import_
from services.registry import COMMANDS, entry_point

NOWHERE = "nulle-part"
NAMES = ("caisse", "slug")
OPENS_IT = "espace caisse add"


async def typed(settings: Settings, command: click.Command, *words: str) -> Result:
    return await asyncio.to_thread(
        CliRunner().invoke, command, [*words], env=to_environment(settings), catch_exceptions=False
    )


def that_name_a_caisse() -> dict[str, click.Command]:
    """Every command of ours with a parameter for a caisse, by the words that call it."""
    found: dict[str, click.Command] = {}

    def look(command: click.Command, words: str) -> None:
        if isinstance(command, click.Group):
            for name, inner in command.commands.items():
                look(inner, f"{words} {name}")
        elif any(one.name in NAMES for one in command.params) and words != OPENS_IT:
            found[words] = command

    for row in COMMANDS:
        look(entry_point(row.command), f"espace {row.name}")
    return found


def made_up(parameter: click.Parameter, tmp_path: Path) -> str:
    """A word that the parameter's type takes."""
    if parameter.name in NAMES:
        return NOWHERE
    if isinstance(parameter.type, click.Choice):
        return str(parameter.type.choices[0])
    if isinstance(parameter.type, click.Path):
        file = tmp_path / "described.json"
        file.write_text(json.dumps({"client_name": "x", "redirect_uris": ["https://a.example/cb"]}))
        return str(file if parameter.type.file_okay else tmp_path)
    return "inconnu"


async def test_a_caisse_that_does_not_exist_is_refused_by_every_command(
    settings: Settings, tmp_path: Path
) -> None:
    commands = that_name_a_caisse()
    assert len(commands) >= 20
    said: dict[str, tuple[int, bool]] = {}
    for words, command in commands.items():
        given: list[str] = []
        for parameter in command.params:
            if isinstance(parameter, click.Argument):
                given.append(made_up(parameter, tmp_path))
            elif parameter.required:
                given += [parameter.opts[0], made_up(parameter, tmp_path)]
        told = await typed(settings, command, *given)
        said[words] = (told.exit_code, "espace caisse list" in told.output)

    assert {words: told for words, told in said.items() if told != (1, True)} == {}


async def test_a_misspelt_caisse_is_a_misuse(settings: Settings) -> None:
    for command, words in (
        (client, ["list", "Médi terranée"]),
        (keys, ["list", "Médi terranée"]),
        (letters, ["show", "--caisse", "Médi terranée"]),
        (import_, ["--caisse", "Médi terranée", "/tmp"]),
    ):
        assert (await typed(settings, command, *words)).exit_code == 2


@pytest.mark.parametrize(
    "words",
    [["--uses", "-5"], ["--uses", "0"], ["--uses", "99999999999"], ["--days", "99999999"], ["--days", "0"]],
)
async def test_an_invitation_out_of_bounds_is_a_misuse(settings: Settings, words: list[str]) -> None:
    refused = await typed(settings, client, "invite", "mediterranee", *words)

    assert refused.exit_code == 2, refused.output
    assert "is not in the range" in refused.output

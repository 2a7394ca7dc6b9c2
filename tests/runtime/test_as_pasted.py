"""What an operator types or pastes where a command wants a name: blanks around it, a dash before it."""

from collections.abc import Iterator

import click
import pytest
import structlog

from libs.common.runtime.cli import AS_PASTED, espace, main
from services.registry import COMMANDS, entry_point


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """A command run in this process sends the logs of all of it elsewhere, and what `capsys` lends is closed later."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


NAMES = {"caisse", "slug", "client_id", "sponsor", "kid", "machine_id", "who", "lot", "lots"}


def every_command() -> Iterator[tuple[str, click.Command]]:
    waiting = [(f"espace {row.name}", entry_point(row.command)) for row in COMMANDS]
    while waiting:
        path, command = waiting.pop()
        yield path, command
        if isinstance(command, click.Group):
            waiting += [(f"{path} {name}", one) for name, one in command.commands.items()]


def test_every_name_is_read_as_pasted() -> None:
    read_otherwise = [
        f"{path} {one.name}"
        for path, command in every_command()
        for one in command.params
        if (one.name in NAMES or isinstance(one, click.Argument))
        and one.type is not AS_PASTED
        and not isinstance(one.type, click.Path | click.Choice)
    ]
    assert read_otherwise == []


@pytest.mark.parametrize(
    "pasted", [" mediterranee", "mediterranee\n", "\u00a0mediterranee\u202f", "\ufeffmediterranee\u200b"]
)
def test_blanks_around_a_name_are_not_of_it(pasted: str) -> None:
    assert AS_PASTED.convert(pasted, None, None) == "mediterranee"


@pytest.mark.parametrize("nothing", ["", "  ", "\u00a0"])
def test_nothing_is_no_name(nothing: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A script whose variable is empty names nobody, and nobody's neighbour."""
    code, said = refused(["person", "show", nothing], capsys)
    assert code == 2
    assert "WHO" in said and said.endswith("une valeur est attendue.")


@pytest.mark.parametrize(
    "dashed", ["-x@entreprise.example", "--x@entreprise.example", "-henri@entreprise.example"]
)
def test_a_name_that_begins_with_a_dash_is_told_how_it_is_written(
    dashed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = refused(["person", "show", dashed], capsys)
    assert code == 2
    assert "n'est pas une option de « espace person show »" in said
    assert said.endswith("une valeur qui commence par un tiret s'écrit en dernier, après « -- ».")


def test_an_option_that_was_mistyped_is_told_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    code, said = refused(["person", "show", "awa@entreprise.example", "--jsn"], capsys)
    assert code == 2
    assert "Vouliez-vous dire --json ?" in said and "« espace person show --help »" in said


def test_a_sentence_in_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["person", "show", "-x", "--json"])
    assert ended.value.code == 2
    assert "après « -- »" in capsys.readouterr().out


def test_behind_two_dashes_it_is_a_name() -> None:
    command = entry_point(next(row.command for row in COMMANDS if row.name == "person"))
    assert isinstance(command, click.Group)
    show = command.commands["show"]
    told = show.make_context("show", ["--", "-x@entreprise.example"], parent=click.Context(espace))
    assert told.params["who"] == "-x@entreprise.example"


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[object, str]:
    """The exit code, and the sentence that stands last."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    said = " ".join(capsys.readouterr().err.split("Error:")[-1].split())
    return ended.value.code, said

"""`espace`: one noun, one verb, `--json` on all that end; the nouns stand in `services/registry.py`, loaded when named.

Exit codes, the same for every command:
  0   done, and every check held
  1   refused, or a check did not hold; the reason is printed
  2   the command was not written as it should be
  3   the configuration is refused
  4   a server cannot start here (port taken, folder closed, program missing)
  130 interrupted

docs/reference/command-line.md has the table, and the two commands that tell more.
"""

import json
import os
import re
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import rich_click as click

from libs.common.runtime.child_process import StartRefused
from libs.common.runtime.lean_imports import import_lean
from libs.common.runtime.settings import SettingsRefused
from services.registry import COMMANDS, CommandRow, NotInstalled, entry_point

REFUSED, MISUSED, MISCONFIGURED, CANNOT_START, INTERRUPTED = 1, 2, 3, 4, 130

SERVERS = ("serve", "work", "mail-catcher")
"""The commands that stay: what they import weighs for as long as they live."""

USUAL_CONFIG = Path("var/espace.toml")

json_option = click.option("--json", "as_json", is_flag=True, help="Répondre par un objet JSON.")
"""The `--json` of every command that ends by itself."""


_AROUND = re.compile(r"\A[\s\u200b-\u200d\u2060\ufeff]+|[\s\u200b-\u200d\u2060\ufeff]+\Z")
"""What comes along when a name is copied from a page or a table, and nobody sees."""


class AsPasted(click.ParamType[str]):
    """A name that somebody typed or pasted: never empty, and the blanks around it are not of it."""

    name = "text"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return _AROUND.sub("", value) or self.fail("une valeur est attendue.", param, ctx)


AS_PASTED = AsPasted()

yes_option = click.option("--yes", "is_sure", is_flag=True, help="Sans demander confirmation.")
"""The `--yes` of what cannot be undone; a script, which has no terminal, is not asked."""


def make_sure(question: str, is_sure: bool) -> None:
    """Ask whoever sits at a terminal; anything but yes ends the command with nothing changed."""
    if not is_sure and sys.stdin.isatty():
        click.confirm(question, abort=True, err=True)


class CommandTable(click.RichGroup):
    """The rows of the registry; help reads the rows, only the command that is run is imported."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [row.name for row in COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        row = _row(cmd_name)
        return (
            None
            if row is None
            else click.RichCommand(name=row.name, short_help=row.says, help=row.says, hidden=row.is_hidden)
        )

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        row = _row(args[0]) if args else None
        if row is None:
            return super().resolve_command(ctx, args)
        if row.name in SERVERS:
            import_lean()
        else:
            _log_beside_the_answer()
        try:
            return row.name, entry_point(row.command), args[1:]
        except NotInstalled as error:
            raise click.ClickException(str(error)) from error


@click.group(
    cls=CommandTable,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Codes de retour : 0 fait, 1 refusé, 2 mal écrit, 3 configuration refusée, 4 ne peut pas démarrer.",
)
@click.version_option(package_name="espace", prog_name="espace")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="Fichier de réglages (ESPACE_CONFIG) ; à défaut var/espace.toml, celui de « espace up », s'il existe.",
)
@click.pass_context
def espace(ctx: click.Context, config: Path | None) -> None:
    """Identité et délégation pour les caisses de Congés Intempéries BTP."""
    if (
        config is None
        and not any(name.startswith("ESPACE_") for name in os.environ)
        and USUAL_CONFIG.exists()
    ):
        config = USUAL_CONFIG
    if config is not None:
        os.environ["ESPACE_CONFIG"] = str(config)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run one command and exit with its code; what we refuse is a sentence, never a traceback."""
    arguments = sys.argv[1:] if arguments is None else arguments
    as_json = "--json" in arguments
    try:
        outcome: Any = espace.main(arguments, prog_name="espace", standalone_mode=False)
    except click.NoSuchOption as error:
        _refuse(as_json, _no_option(error), MISUSED)
    except click.ClickException as error:
        _refuse(as_json, error.format_message(), error.exit_code, error)
    except SettingsRefused as error:
        _refuse(as_json, str(error), MISCONFIGURED)
    except StartRefused as error:
        _refuse(as_json, str(error), CANNOT_START)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(INTERRUPTED)
    except Exception as error:
        _refuse(as_json, _our_fault(error), REFUSED)
    sys.exit(outcome if isinstance(outcome, int) else 0)


def print_json(answer: object) -> None:
    """The one JSON answer of a command; instants as the APIs tell them (RFC 3339 §5.6)."""
    plain = msgspec.to_builtins(answer, enc_hook=str)
    print(json.dumps(plain, ensure_ascii=False, indent=2))  # noqa: T201 - the answer itself


def _log_beside_the_answer() -> None:
    """What our own modules log while a command works is not its answer."""
    import structlog

    # Looked up at each line: what was standard error when the command began may be closed.
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))


def _row(name: str) -> CommandRow | None:
    return next((row for row in COMMANDS if row.name == name), None)


def _our_fault(error: Exception) -> str:
    """A defect as a sentence; its trace, without secrets, only for who asks for it."""
    from libs.common.runtime.logging import LONGEST_TRACE, redact_text

    if os.environ.get("ESPACE_LOG_LEVEL") == "debug":
        click.echo(redact_text("".join(traceback.format_exception(error)), LONGEST_TRACE), err=True)
    said = redact_text(f"{type(error).__name__} {error}".strip())
    return f"Erreur inattendue ({said}). La trace : relancez avec ESPACE_LOG_LEVEL=debug."


def _no_option(error: click.NoSuchOption) -> str:
    command = "espace" if error.ctx is None else error.ctx.command_path
    near = f" Vouliez-vous dire {' ou '.join(error.possibilities)} ?" if error.possibilities else ""
    return (
        f"{error.option_name} n'est pas une option de « {command} ».{near} "
        f"« {command} --help » les nomme ; une valeur qui commence par un tiret s'écrit en dernier, après « -- »."
    )


def _refuse(as_json: bool, sentence: str, code: int, shown: click.ClickException | None = None) -> NoReturn:
    if as_json:
        print_json({"error": sentence})
    elif shown is not None:
        shown.show()
    else:
        click.secho(sentence, fg="red", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()

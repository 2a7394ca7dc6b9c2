"""`espace import`: one folder of a former system's export, into every service that has a use for it."""

import asyncio
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import rich_click as click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as ProgressBars
from rich.table import Column, Table

from libs.common.database.pool import Database
from libs.common.legacy_export.profile import NotAnExport
from libs.common.legacy_export.tally import FileReport, Progress
from libs.common.legacy_export.verdict import Outcome, Verdict
from libs.common.runtime.cli import AS_PASTED, json_option, print_json
from libs.common.runtime.settings import Settings, load_settings
from libs.common.values.caisse_slug import CaisseSlug
from services.adherent.legacy_import.import_balances import import_balances
from services.identity.caisses.command_line import no_such_caisse, slug_named
from services.identity.legacy_import.batch import NumberTakenMeanwhile
from services.identity.legacy_import.import_export import NoSuchCaisse, import_export

SHOWN = 20
"""Refusals printed on the screen; the report has them all."""


class _Telling:
    """Counts what is told, keeps the first for the screen, writes all to the report."""

    def __init__(self, report: Path | None, stack: ExitStack) -> None:
        self._file = stack.enter_context(report.open("wb")) if report else None
        self.first: list[Verdict] = []
        self.count = 0

    def tell(self, verdict: Verdict) -> None:
        if verdict.outcome is Outcome.REFUSED:
            self.count += 1
            if len(self.first) < SHOWN:
                self.first.append(verdict)
        if self._file:
            self._file.write(msgspec.json.encode(verdict._asdict()) + b"\n")


@click.command("import")
@click.option(
    "--caisse",
    "slug",
    required=True,
    type=AS_PASTED,
    help="La caisse qui reçoit l'export, par exemple mediterranee.",
)
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Juger et compter sans rien écrire.")
@click.option(
    "--report", type=click.Path(dir_okay=False, path_type=Path), help="Tous les verdicts, un JSON par ligne."
)
@json_option
def import_(slug: str, folder: Path, dry_run: bool, report: Path | None, as_json: bool) -> None:
    """Importer l'export d'un ancien logiciel : chaque ligne reçoit un verdict.

    Les lignes refusées n'arrêtent pas les bonnes ; deux imports ne doublent rien.
    Codes de sortie : 0 fait (même avec des refus), 1 rien d'importable ou compte
    faux, 2 demande mal formée, 3 configuration refusée.
    """
    caisse = slug_named(slug)
    with ExitStack() as stack:
        telling = _Telling(report, stack)
        progress = stack.enter_context(_progress_bars(as_json))
        try:
            files = asyncio.run(_import(load_settings(), caisse, folder, dry_run, telling, progress))
        except NotAnExport as error:
            raise click.ClickException(str(error)) from error
        except NumberTakenMeanwhile as error:
            raise click.ClickException(
                "Un autre import a donné entre-temps un numéro d'adhérent à une autre entreprise. Relancez l'import."
            ) from error
        except NoSuchCaisse:
            no_such_caisse(slug)
    is_reconciled = all(file.counts.is_reconciled for file in files.values())
    if as_json:
        print_json(_as_json(files, telling, dry_run, is_reconciled))
    else:
        _print(files, telling, report, dry_run)
    if not is_reconciled:
        click.echo("Les comptes ne tombent pas juste : l'import est à examiner.", err=True)
        sys.exit(1)


async def _import(
    settings: Settings,
    caisse: CaisseSlug,
    folder: Path,
    is_dry_run: bool,
    telling: _Telling,
    progress: Progress,
) -> dict[str, FileReport]:
    """Identity's files first, then the balances, each on the service's own database."""
    settings.require("identity.dsn", "adherent.dsn")
    identity = await Database.open(
        settings.identity.dsn, name="espace import", max_size=1, command_timeout=60
    )
    try:
        report = await import_export(
            identity,
            caisse,
            folder,
            now=datetime.now(UTC),
            is_dry_run=is_dry_run,
            tell=telling.tell,
            progress=progress,
        )
    finally:
        await identity.close()
    adherent = await Database.open(
        settings.adherent.dsn, name="espace import", max_size=1, command_timeout=60
    )
    try:
        balances = await import_balances(
            adherent,
            caisse,
            folder,
            is_dry_run=is_dry_run,
            numbers_of_other_firms=report.numbers_of_other_firms,
            tell=telling.tell,
            progress=progress,
        )
    finally:
        await adherent.close()
    return {**report.files, **balances}


@contextmanager
def _progress_bars(is_silent: bool) -> Generator[Progress, None, None]:
    columns = (TextColumn("{task.description:<22}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with ProgressBars(*columns, console=Console(stderr=True), disable=is_silent) as bars:
        tasks: dict[str, TaskID] = {}

        def progress(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task("écriture" if what == "write" else what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield progress


def _as_json(
    files: dict[str, FileReport], telling: _Telling, is_dry_run: bool, is_reconciled: bool
) -> dict[str, Any]:
    return {
        "dry_run": is_dry_run,
        "reconciled": is_reconciled,
        "files": {file: msgspec.to_builtins(report) for file, report in files.items()},
        "refused": telling.count,
        "first_refusals": [msgspec.to_builtins(verdict._asdict()) for verdict in telling.first],
    }


def _print(files: dict[str, FileReport], telling: _Telling, report: Path | None, is_dry_run: bool) -> None:
    console = Console()
    table = Table("Fichier", "Encodage", *map(_right, ("Lues", "Acceptées", "Corrigées", "Refusées", "Nouvelles",
                                                      "Changées", "Inchangées")))  # fmt: skip
    for name, file in files.items():
        c = file.counts
        numbers = (c.read, c.accepted, c.corrected, c.refused, c.inserted, c.updated, c.unchanged)
        table.add_row(name, file.encoding, *(f"{number:,}".replace(",", "\u202f") for number in numbers))
    console.print(table)
    for verdict in telling.first:
        where = f"{verdict.file}, ligne {verdict.line}" + (f", {verdict.column}" if verdict.column else "")
        console.print(f"  {where} : {verdict.reason}", markup=False, highlight=False)
    if telling.count > len(telling.first):
        more = f" ; tous sont dans {report}" if report else " ; --report FICHIER les écrit tous"
        console.print(f"  … et {telling.count - len(telling.first)} autres refus{more}.", markup=False)
    if is_dry_run:
        console.print("À blanc : rien n'a été écrit.")


def _right(title: str) -> Any:
    return Column(title, justify="right")

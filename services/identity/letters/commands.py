"""`espace letters make | print | post | returns | show`."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import rich_click as click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from libs.common.database.pool import Database
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.keys.root_key import open_key_encryption
from libs.common.runtime.cli import AS_PASTED, json_option, make_sure, print_json, yes_option
from libs.common.runtime.settings import Settings, load_settings
from libs.common.values.identifiers import InvalidPublicId, parse_public_id, public_id
from services.identity.caisses.caisse import Caisse
from services.identity.caisses.command_line import caisse_named, slug_named
from services.identity.letters import store
from services.identity.letters.make import LettersBeingMade, MadeLots, NobodyToWriteTo, make_letters
from services.identity.letters.paper_secret import PaperSecrets
from services.identity.letters.post_lot import NotToBePosted, Posted, post_lot, proof_holds
from services.identity.letters.print_lot import LotPurged, Manifest, NoSuchLot, print_lot
from services.identity.letters.returned_mail import ReturnsRead, mark_returned
from services.identity.letters.store import PrintLot

Answer = TypeVar("Answer")

REFUSALS: dict[type[Exception], str] = {
    NobodyToWriteTo: "Personne à qui écrire : aucun adhérent de ce numéro, ou tous ont déjà leurs courriers.",
    LettersBeingMade: "Des courriers viennent d'être faits pour les mêmes adhérents : rien n'a été gardé.",
    NoSuchLot: "Aucun lot de cette caisse ne porte ce numéro.",
    LotPurged: "Ce lot a été posté et effacé : il faut en faire un autre.",
    NotToBePosted: "Ce lot ne peut pas être posté : pas imprimé, déjà posté, ou trop tôt après le premier.",
}
caisse_option = click.option(
    "--caisse", "slug", required=True, type=AS_PASTED, help="La caisse, par exemple mediterranee."
)


class Hands(NamedTuple):
    """What every command of this group holds while it works."""

    settings: Settings
    db: Database
    keys: KeyEncryption
    caisse: Caisse


@click.group("letters")
def letters() -> None:
    """Les courriers de première connexion : deux lots, deux dates.

    Codes de sortie : 0 fait, 1 refusé, 2 demande mal formée, 3 configuration refusée.
    """


@letters.command("make")
@caisse_option
@click.option("--adherent", "numbers", multiple=True, help="Numéro d'adhérent à qui réémettre ; à répéter.")
@click.option("--limit", default=1_000_000, show_default=False, help="Courriers au plus ; par défaut tous.")
@json_option
def make(slug: str, numbers: tuple[str, ...], limit: int, as_json: bool) -> None:
    """Faire les courriers des adhérents sans compte ni courriers, ou de ceux que l'on nomme."""

    async def made(hands: Hands) -> list[MadeLots]:
        with Progress(transient=True, disable=as_json, console=Console(stderr=True)) as bar:
            task = bar.add_task("Courriers", total=None)

            def progress(what: str, done: int, total: int) -> None:
                bar.update(task, completed=done, total=total)

            return await _make_all(hands, list(numbers) or None, limit, progress)

    lots = _run(slug, made)
    answer = [
        {
            "identifiant_lot": public_id("lot", one.identifiant_lot),
            "code_confidentiel_lot": public_id("lot", one.code_lot),
            "letters": len(one.pairs),
        }
        for one in lots
    ]
    if as_json:
        print_json(answer)
        return
    for one in answer:
        click.echo(
            f"{one['identifiant_lot']} et {one['code_confidentiel_lot']} : {one['letters']} courriers chacun."
        )


async def _make_all(
    hands: Hands, numbers: list[str] | None, limit: int, progress: Callable[[str, int, int], None]
) -> list[MadeLots]:
    paper = PaperSecrets(hands.keys)
    made: list[MadeLots] = []
    try:
        while (left := limit - sum(len(one.pairs) for one in made)) > 0:
            try:
                made.append(
                    await make_letters(
                        hands.db,
                        hands.caisse.slug,
                        paper,
                        hands.keys,
                        numbers=numbers,
                        portal=hands.settings.portal.base,
                        now=datetime.now(UTC),
                        limit=left,
                        progress=progress,
                    )
                )
            except NobodyToWriteTo:
                if made:
                    break
                raise
            if numbers is not None:
                break
    finally:
        paper.close()
    return made


@letters.command("print")
@caisse_option
@click.argument("lots", nargs=-1, required=True, type=AS_PASTED)
@json_option
def print_(slug: str, lots: tuple[str, ...], as_json: bool) -> None:
    """Remettre des LOTS à l'imprimeur : le PDF et son manifeste, dans le dossier post_office."""

    async def printed(hands: Hands) -> list[Manifest]:
        hands.settings.require("post_office")
        assert hands.settings.post_office is not None
        return [
            await print_lot(
                hands.db,
                hands.keys,
                hands.caisse.slug,
                _lot_id(lot),
                hands.settings.post_office,
                now=datetime.now(UTC),
            )
            for lot in lots
        ]

    manifests = _run(slug, printed)
    if as_json:
        print_json([{"lot": one.lot, "letters": one.letters, "sha256": one.sha256} for one in manifests])
        return
    for one in manifests:
        click.echo(f"{one.lot} : {one.letters} courriers remis, à poster dès le {one.post_on}.")


@letters.command("post")
@caisse_option
@click.argument("lots", nargs=-1, required=True, type=AS_PASTED)
@click.option("--same-day", is_flag=True, help="Poster le second lot le jour du premier (démonstration).")
@yes_option
@json_option
def post(slug: str, lots: tuple[str, ...], same_day: bool, is_sure: bool, as_json: bool) -> None:
    """Noter que l'imprimeur a posté des LOTS ; ils sont alors effacés, preuve à l'appui."""

    async def posted(hands: Hands) -> list[Posted]:
        done: list[Posted] = []
        for lot in lots:
            async with hands.db.transaction(hands.caisse.slug) as tx:
                done.append(
                    await post_lot(
                        tx,
                        hands.keys,
                        hands.caisse,
                        _lot_id(lot),
                        now=datetime.now(UTC),
                        same_day=same_day and hands.settings.demonstration,
                    )
                )
        return done

    make_sure("Le contenu de ces lots sera effacé : l'imprimeur les a-t-il tous postés ?", is_sure)
    done = _run(slug, posted)
    if as_json:
        print_json([one._asdict() for one in done])
        return
    for one in done:
        until = f", valables jusqu'au {one.valid_until:%d/%m/%Y}" if one.valid_until else ""
        click.echo(f"{one.lot} : posté, {one.pairs} courriers{until}. Contenu effacé.")


@letters.command("returns")
@caisse_option
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
def returns(slug: str, file: Path, as_json: bool) -> None:
    """Lire le fichier des courriers revenus (NPAI) : une ligne « lot_…/page;motif » chacun."""

    async def read(hands: Hands) -> ReturnsRead:
        # Read whole first: no row is held while a pipe makes us wait.
        with file.open(encoding="utf-8") as opened:
            lines = list(opened)
        async with hands.db.transaction(hands.caisse.slug) as tx:
            return await mark_returned(tx, lines, now=datetime.now(UTC))

    outcome = _run(slug, read)
    if as_json:
        print_json(outcome._asdict())
    else:
        click.echo(
            f"{outcome.marked} marqués ; lignes sans courrier vivant : {outcome.unknown} ; "
            f"lignes illisibles : {outcome.unreadable}."
        )


@letters.command("show")
@caisse_option
@click.argument("lot", required=False, type=AS_PASTED)
@json_option
def show(slug: str, lot: str | None, as_json: bool) -> None:
    """Où en est un LOT, ou les derniers lots ; jamais ce que disent les courriers."""

    async def found(hands: Hands) -> list[dict[str, Any]]:
        async with hands.db.transaction(hands.caisse.slug) as tx:
            if lot is None:
                return [_shown(hands.keys, one) for one in await store.lots(tx, 50)]
            one = await store.find_lot(tx, _lot_id(lot))
            if one is None:
                raise NoSuchLot(lot)
            pages = await store.pages(tx, one.id)
            return [{**_shown(hands.keys, one), "pairs": [f"{page.page} {page.state}" for page in pages]}]

    answer = _run(slug, found)
    if as_json:
        print_json(answer)
        return
    table = Table("Lot", "Contenu", "Courriers", "Imprimé", "Posté", "Effacé")
    for one in answer:
        table.add_row(
            one["lot"],
            one["kind"],
            str(one["letters"]),
            one["printed_at"] or "—",
            one["posted_at"] or "—",
            "avec preuve" if one["purge_proof_holds"] else "—",
        )
    Console().print(table)


def _shown(keys: KeyEncryption, lot: PrintLot) -> dict[str, Any]:
    return {
        "lot": public_id("lot", lot.id),
        "kind": lot.kind,
        "letters": lot.letters,
        "sha256": lot.sha256.hex(),
        "post_on": lot.post_on.isoformat(),
        "made_at": lot.made_at.isoformat(),
        "printed_at": lot.printed_at.isoformat() if lot.printed_at else None,
        "posted_at": lot.posted_at.isoformat() if lot.posted_at else None,
        "purged_at": lot.purged_at.isoformat() if lot.purged_at else None,
        "purge_proof_holds": proof_holds(keys, lot),
    }


def _lot_id(text: str) -> Any:
    try:
        return parse_public_id("lot", text)
    except InvalidPublicId as error:
        raise click.UsageError(f"{text} : un lot s'écrit lot_ suivi de 26 caractères.") from error


def _run(slug: str, use: Callable[[Hands], Awaitable[Answer]]) -> Answer:
    """Open what the command needs, run it, and tell its refusals in French."""

    async def opened() -> Answer:
        settings = load_settings()
        settings.require("identity.dsn", "portal.base")
        db = await Database.open(settings.identity.dsn, name="espace letters", max_size=2, command_timeout=60)
        try:
            async with db.across_caisses() as tx:
                caisse = await caisse_named(tx, slug_named(slug))
            keys = open_key_encryption(settings)
            return await use(Hands(settings, db, keys, caisse))
        finally:
            await db.close()

    try:
        return asyncio.run(opened())
    except tuple(REFUSALS) as error:
        raise click.ClickException(REFUSALS[type(error)]) from error

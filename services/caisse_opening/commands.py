"""`espace caisse add | connect | list`."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

import msgspec
import rich_click as click
from rich.console import Console
from rich.table import Table

from libs.common.database.pool import Database
from libs.common.database.transaction import Tx
from libs.common.keys.root_key import open_key_encryption
from libs.common.runtime.cli import AS_PASTED, json_option, print_json
from libs.common.runtime.settings import Settings, load_settings
from libs.common.values.caisse_slug import InvalidCaisseSlug, parse_caisse_slug
from libs.common.values.siret import InvalidSiren, parse_siren
from services.caisse_opening.own_clients import NEEDS, register_own_clients
from services.identity.caisses import store
from services.identity.caisses.add import CaisseAlreadyThere, add_caisse
from services.identity.caisses.caisse import Caisse, CaisseSettings, Cutover
from services.identity.caisses.command_line import in_caisse, now


@click.group("caisse")
def caisse() -> None:
    """Les caisses de cette installation.

    Codes de sortie : 0 fait, 1 caisse déjà présente, 2 demande mal formée, 3 configuration refusée.
    """


@caisse.command("add")
@click.argument("slug", type=AS_PASTED)
@click.option("--name", default="", help="Nom imprimé ; par défaut tiré de SLUG.")
@click.option("--network-number", default="", help="Numéro de la caisse dans le réseau (deux chiffres).")
@click.option("--siren", default="", help="SIREN de la caisse, imprimé sur ses attestations.")
@click.option("--address", multiple=True, help="Une ligne d'adresse ; répéter l'option, six lignes au plus.")
@click.option("--phone", default="")
@click.option("--email", default="")
@click.option("--website", default="")
@click.option("--mail-from", default="", help="Expéditeur de ses courriels.")
@click.option("--colour", default="", help="Couleur d'accent, #rrggbb.")
@click.option(
    "--cutover", nargs=3, default=None, metavar="FERMETURE REPRISE OUVERTURE", help="AAAA-MM-JJ × 3."
)
@json_option
def add(slug: str, as_json: bool, **given: Any) -> None:
    """Ouvrir la caisse SLUG : sa ligne, ses clés, son calendrier, son portail."""
    try:
        wanted = described(slug, **given)
    except (InvalidCaisseSlug, InvalidSiren, msgspec.ValidationError) as error:
        raise click.UsageError(str(error)) from error
    began = time.perf_counter()
    settings = load_settings()
    lacks = settings.lacking(*NEEDS)
    try:
        clients = asyncio.run(_add(settings, wanted, with_clients=not lacks))
    except CaisseAlreadyThere as error:
        raise click.ClickException(f"La caisse {slug} existe déjà : rien n'a été changé.") from error
    took_ms = round((time.perf_counter() - began) * 1000)
    if as_json:
        print_json({**wanted.as_json(), "clients": clients, "took_ms": took_ms})
        return
    click.echo(f"La caisse {slug} est ouverte ({took_ms} ms).")
    if missing := [name for name in ("siren", "address", "phone", "email") if not getattr(wanted, name)]:
        click.echo(f"À compléter avant ses premiers courriers : {', '.join(missing)}.")
    if lacks:
        click.echo(
            f"Personne ne s'y connecte encore : il manque ici {', '.join(lacks)}. Là où ces réglages sont connus : "
            f"« espace caisse connect {slug} »."
        )


@caisse.command("connect")
@click.argument("slug", required=False, type=AS_PASTED)
@json_option
def connect(slug: str | None, as_json: bool) -> None:
    """Faire connaître à la caisse SLUG, ou à toutes, le portail et les services d'ici.

    À leurs adresses et clés d'aujourd'hui : après un changement de celles-ci, ou pour une caisse ouverte sans eux.
    """
    settings = load_settings()
    settings.require(*NEEDS)
    slugs = [slug] if slug else [one.slug for one in asyncio.run(_every(settings))]

    async def connected(tx: Tx) -> list[str]:
        return await register_own_clients(tx, settings, now=now())

    clients = {one: in_caisse(one, connected, name="espace caisse") for one in slugs}
    if as_json:
        print_json({"caisses": clients})
        return
    for one, known in clients.items():
        click.echo(f"La caisse {one} connaît {', '.join(known)}.")


@caisse.command("list")
@json_option
def list_all(as_json: bool) -> None:
    """Les caisses ouvertes, par nom."""
    caisses = asyncio.run(_every(load_settings()))
    if as_json:
        print_json([one.as_json() for one in caisses])
        return
    table = Table("Caisse", "Nom", "Réseau", "Ouverte le")
    for one in caisses:
        table.add_row(one.slug, one.name, one.network_number, f"{one.created_at:%d/%m/%Y}")
    Console().print(table)


def described(
    slug: str,
    *,
    name: str = "",
    network_number: str = "",
    siren: str = "",
    address: tuple[str, ...] = (),
    phone: str = "",
    email: str = "",
    website: str = "",
    mail_from: str = "",
    colour: str = "",
    cutover: tuple[str, str, str] | None = None,
) -> Caisse:
    """The caisse that the options describe, every default filled in."""
    calendar = None
    if cutover:
        calendar = msgspec.convert(
            dict(zip(("closes_on", "desk_reopens_on", "opens_on"), cutover, strict=True)), Cutover
        )
    return Caisse(
        slug=parse_caisse_slug(slug),
        name=name or "Congés Intempéries BTP " + slug.replace("-", " ").title(),
        # 02 and 2 are one number (domain.md §1).
        network_number=network_number.strip().lstrip("0").rjust(2, "0") if network_number.strip() else "",
        siren=parse_siren(siren) if siren else "",
        address=list(address)[:6],
        phone=phone,
        email=email,
        website=website,
        mail_from=mail_from or email or f"ne-pas-repondre@{slug}.example",
        settings=CaisseSettings(colour=colour, cutover=calendar),
        created_at=datetime.now(UTC),
    )


async def _add(settings: Settings, wanted: Caisse, *, with_clients: bool) -> list[str]:
    """The tenant and our clients in it, or nothing; the identifiers of the clients."""
    settings.require("identity.dsn")
    keys = open_key_encryption(settings)
    db = await Database.open(settings.identity.dsn, name="espace caisse", max_size=1)
    try:
        async with db.transaction(wanted.slug) as tx:
            await add_caisse(tx, keys, wanted)
            return await register_own_clients(tx, settings, now=wanted.created_at) if with_clients else []
    finally:
        await db.close()


async def _every(settings: Settings) -> list[Caisse]:
    settings.require("identity.dsn")
    db = await Database.open(settings.identity.dsn, name="espace caisse", max_size=1)
    try:
        async with db.across_caisses() as tx:
            return await store.every(tx)
    finally:
        await db.close()

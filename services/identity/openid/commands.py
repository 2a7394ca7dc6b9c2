"""`espace client add | change | list | show | rotate | disable | report | invite`, and the software of cabinets."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import msgspec
import rich_click as click
from rich.console import Console
from rich.table import Table

from libs.common.database.transaction import Tx
from libs.common.runtime.cli import AS_PASTED, json_option, make_sure, print_json, yes_option
from libs.common.runtime.settings import load_settings
from libs.common.values.caisse_slug import CaisseSlug
from services.identity.cabinets.commands import MACHINES
from services.identity.caisses.caisse import OpenRegistration
from services.identity.caisses.command_line import in_caisse, misused, now, refuse
from services.identity.openid import client_store, store
from services.identity.openid.client_rules import InvalidClientMetadata
from services.identity.openid.clients import Client, ClientMetadata, Profile
from services.identity.openid.guarded_fetcher import GuardedFetcher
from services.identity.openid.judge_metadata import judge_metadata
from services.identity.openid.provider import addresses
from services.identity.openid.report import departures
from services.identity.openid.write_client import (
    AT_THE_COMMAND_LINE,
    MOST_DAYS,
    MOST_USES,
    ClientAlreadyThere,
    ItIsAMachine,
    RegisteredClient,
    disable_client,
    open_registration,
    register_client,
    rotate_secret,
    update_client,
)
from services.identity.openid.write_client import invite as invite_client


@click.group("client")
def client() -> None:
    """Les clients OpenID d'une caisse.

    Codes de sortie : 0 fait, 1 refusé (inconnu, déjà présent), 2 demande mal formée, 3 configuration refusée.
    """


@client.command("add")
@click.argument("caisse", type=AS_PASTED)
@click.argument("metadata", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--id", "client_id", default=None, type=AS_PASTED, help="Identifiant ; tiré au sort sinon.")
@json_option
def add(caisse: str, metadata: Path, client_id: str | None, as_json: bool) -> None:
    """Enregistrer dans CAISSE le client que décrit le fichier METADATA (JSON, RFC 7591)."""
    try:
        described = msgspec.json.decode(metadata.read_bytes(), type=ClientMetadata)
        settings = load_settings()
        added = in_caisse(
            caisse,
            lambda tx: register_client(
                tx, described, now=now(), client_id=client_id, plain_http=settings.demonstration
            ),
            first=judging(described),
        )
    except (msgspec.MsgspecError, InvalidClientMetadata) as error:
        misused(f"{metadata} : {error}")
    except ClientAlreadyThere:
        refuse(f"Le client {client_id} existe déjà : rien n'a été changé.")
    shown = _told(added) | ({"client_secret": added.secret} if added.secret else {})
    if as_json:
        print_json(shown)
        return
    click.echo(f"Le client {added.client_id} est enregistré.")
    if added.secret:
        click.echo(f"Son secret, montré cette seule fois : {added.secret}")


@client.command("change")
@click.argument("caisse", type=AS_PASTED)
@click.argument("client_id", type=AS_PASTED)
@click.argument("metadata", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
def change(caisse: str, client_id: str, metadata: Path, as_json: bool) -> None:
    """Remplacer toute la description d'un client de CAISSE par celle du fichier METADATA (JSON, RFC 7591)."""

    async def replaced(tx: Tx) -> RegisteredClient | None:
        known = await store.load_client(tx, client_id)
        if known is None:
            return None
        plain_http = load_settings().demonstration
        return await update_client(
            tx, known, described, now=now(), plain_http=plain_http, by=AT_THE_COMMAND_LINE
        )

    try:
        described = msgspec.json.decode(metadata.read_bytes(), type=ClientMetadata)
        changed = in_caisse(caisse, replaced, first=judging(described))
    except (msgspec.MsgspecError, InvalidClientMetadata) as error:
        misused(f"{metadata} : {error}")
    except ItIsAMachine:
        misused(f"{client_id} est le logiciel d'un cabinet : voir espace client machine.")
    if changed is None:
        refuse(f"Aucun client {client_id} dans la caisse {caisse}.")
    if as_json:
        print_json(_told(changed) | ({"client_secret": changed.secret} if changed.secret else {}))
        return
    click.echo(f"Le client {client_id} est changé.")
    if changed.secret:
        click.echo(f"Son secret, montré cette seule fois : {changed.secret}")


@client.command("list")
@click.argument("caisse", type=AS_PASTED)
@json_option
def list_all(caisse: str, as_json: bool) -> None:
    """Les clients de CAISSE."""
    found = in_caisse(caisse, client_store.every)
    if as_json:
        print_json([_told(one) for one in found])
        return
    table = Table("Client", "Nom", "Profil", "État", "Écarts")
    for one in found:
        count = len(departures(one.metadata))
        table.add_row(one.client_id, one.metadata.client_name, one.profile, one.state, str(count or "–"))
    Console().print(table)


@client.command("show")
@click.argument("caisse", type=AS_PASTED)
@click.argument("client_id", type=AS_PASTED)
@json_option
def show(caisse: str, client_id: str, as_json: bool) -> None:
    """Tout ce que CAISSE sait du client, en JSON ; jamais son secret."""
    found = in_caisse(caisse, lambda tx: store.load_client(tx, client_id))
    if found is None:
        refuse(f"Aucun client {client_id} dans la caisse {caisse}.")
    print_json(_told(found))


@client.command("rotate")
@click.argument("caisse", type=AS_PASTED)
@click.argument("client_id", type=AS_PASTED)
@yes_option
@json_option
def rotate(caisse: str, client_id: str, is_sure: bool, as_json: bool) -> None:
    """Un nouveau secret, montré une seule fois ; l'ancien ne vaut plus rien."""
    make_sure(f"L'ancien secret de {client_id} ne vaudra plus rien. Continuer ?", is_sure)
    secret = in_caisse(caisse, lambda tx: rotate_secret(tx, client_id, now=now()))
    if secret is None:
        refuse("Ce client est inconnu, ou n'a pas de secret : ses clés se changent chez lui (jwks_uri).")
    if as_json:
        print_json({"client_id": client_id, "client_secret": secret})
    else:
        click.echo(secret)


@client.command("disable")
@click.argument("caisse", type=AS_PASTED)
@click.argument("client_id", type=AS_PASTED)
@yes_option
@json_option
def disable(caisse: str, client_id: str, is_sure: bool, as_json: bool) -> None:
    """Le client n'obtient plus rien et ses jetons meurent partout en moins d'une seconde ; pour toujours."""
    make_sure(f"{client_id} sera arrêté pour toujours dans {caisse}. Continuer ?", is_sure)
    if not in_caisse(caisse, lambda tx: disable_client(tx, client_id, now=now())):
        refuse(f"Aucun client actif {client_id} dans la caisse {caisse}.")
    if as_json:
        print_json({"client_id": client_id, "state": "disabled"})
    else:
        click.echo(f"Le client {client_id} est désactivé.")


@client.command("report")
@click.argument("caisse", type=AS_PASTED)
@click.argument("client_id", required=False, type=AS_PASTED)
@json_option
def report(caisse: str, client_id: str | None, as_json: bool) -> None:
    """Les écarts de chaque client à la RFC 9700 et à FAPI 2.0."""
    found = [one for one in in_caisse(caisse, client_store.every) if client_id in (None, one.client_id)]
    if client_id is not None and not found:
        refuse(f"Aucun client {client_id} dans la caisse {caisse}.")
    if as_json:
        told = {one.client_id: [line._asdict() for line in departures(one.metadata)] for one in found}
        print_json(told)
        return
    table = Table("Client", "Écart", "Clause", "Remède")
    for one in found:
        for line in departures(one.metadata):
            table.add_row(one.client_id, line.what, line.clause, line.remedy)
    Console().print(table if table.row_count else "Aucun écart.")


@client.command("invite")
@click.argument("caisse", type=AS_PASTED)
@click.option("--profile", type=click.Choice(["fapi", "standard", "compat"]), default="standard")
@click.option("--uses", type=click.IntRange(1, MOST_USES), default=1, show_default=True)
@click.option("--days", type=click.IntRange(1, MOST_DAYS), default=7, show_default=True)
@json_option
def invite(caisse: str, profile: str, uses: int, days: int, as_json: bool) -> None:
    """Un jeton initial d'enregistrement dynamique (RFC 7591), montré une seule fois."""
    chosen = cast(Profile, profile)
    invitation = in_caisse(
        caisse, lambda tx: invite_client(tx, profile=chosen, uses=uses, days=days, now=now())
    )
    if as_json:
        print_json({"token": invitation.token, "profile": profile, "uses": uses, "days": days})
    else:
        click.echo(invitation.token)


@client.command("registration")
@click.argument("caisse", type=AS_PASTED)
@click.argument("choice", type=click.Choice(["closed", "standard", "compat"]))
@json_option
def registration(caisse: str, choice: str, as_json: bool) -> None:
    """Ouvrir l'enregistrement dynamique à tous, dans un profil, ou exiger un jeton initial (closed)."""
    opened = cast(OpenRegistration, choice)
    in_caisse(caisse, lambda tx: open_registration(tx, opened, now=now()))
    if as_json:
        print_json({"caisse": caisse, "registration": choice})
    else:
        click.echo(f"{caisse} : {choice}")


def judging(described: ClientMetadata) -> Callable[[CaisseSlug], Awaitable[None]]:
    """As registration and the Admin API judge it, with the addresses that the description names."""

    async def judge(caisse: CaisseSlug) -> None:
        settings = load_settings()
        _, audiences = addresses(settings, caisse)
        fetcher = GuardedFetcher.of(settings)
        await judge_metadata(described, audiences, fetcher, plain_http=settings.demonstration)

    return judge


def _told(one: Client) -> dict[str, Any]:
    return {"client_id": one.client_id, "state": one.state, **msgspec.to_builtins(one.metadata)}


for command in MACHINES:
    client.add_command(command)

"""`espace client machine | machines | sponsor | ceiling | keys`: the software of cabinets, at the command line."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import rich_click as click
from rich.console import Console
from rich.table import Table

from libs.common.database.transaction import Tx
from libs.common.refusals import DomainError, NotFound
from libs.common.runtime.cli import AS_PASTED, json_option, print_json
from libs.common.runtime.settings import load_settings
from libs.common.values.foreign_json import Read, UnreadableJson, read_json
from libs.common.values.identifiers import InvalidPublicId, parse_public_id, public_id
from services.identity.cabinets import machine_store, machines
from services.identity.cabinets import store as cabinets
from services.identity.cabinets.machine_store import Registered
from services.identity.cabinets.machines import (
    LastKey,
    MachineAlreadyThere,
    NotASponsor,
    keys_of,
    metadata_of,
)
from services.identity.caisses.command_line import in_caisse, misused, now, refuse
from services.identity.delegation.offer import CabinetNotEligible
from services.identity.openid.client_rules import InvalidClientMetadata

SENTENCES: dict[type[Exception], str] = {
    NotFound: "Aucun logiciel, cabinet ou clé de ce nom dans cette caisse.",
    CabinetNotEligible: "Ce cabinet n'est pas en activité, ou la caisse le refuse.",
    NotASponsor: "Le répondant doit travailler au cabinet et ne pas être suspendu.",
    MachineAlreadyThere: "Ce cabinet a déjà un logiciel de ce nom : rien n'a été changé.",
    LastKey: "C'est la dernière clé : ajoutez d'abord la suivante.",
}


class _KeySet(msgspec.Struct):
    keys: list[dict[str, Any]]


_key_sets = msgspec.json.Decoder(_KeySet)
_keys = msgspec.json.Decoder(dict[str, Any])

A_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("machine")
@click.argument("caisse", type=AS_PASTED)
@click.option("--cabinet", "siren", required=True, type=AS_PASTED, help="SIREN du cabinet.")
@click.option("--name", required=True, help="Le nom que liront les entreprises.")
@click.option(
    "--sponsor",
    required=True,
    type=AS_PASTED,
    help="Qui en répond au cabinet : adresse électronique ou per_….",
)
@click.option(
    "--scope", required=True, help="Plafond des droits, séparés par des espaces ; jamais payment.order."
)
@click.option(
    "--keys", "key_file", required=True, type=A_FILE, help="Clés publiques (JWK Set), chacune son kid."
)
@json_option
def machine(
    caisse: str, siren: str, name: str, sponsor: str, scope: str, key_file: Path, as_json: bool
) -> None:
    """Enregistrer dans CAISSE le logiciel d'un cabinet, dont une personne répond."""
    settings = load_settings()
    resources = [f"{base}/{caisse}" for base in (settings.adherent.base, settings.documents.base)]

    async def act(tx: Tx) -> Registered:
        cabinet = await cabinets.find_active(tx, siren, None)
        if cabinet is None:
            raise CabinetNotEligible
        return await machines.register_machine(
            tx,
            cabinet.id,
            name,
            sponsor_id=await _person(tx, cabinet.id, sponsor),
            scopes=scope.split(),
            keys=_read(key_file, _key_sets).keys,
            resources=resources,
            now=now(),
        )

    _say(_carried_out(caisse, act), as_json)


@click.command("machines")
@click.argument("caisse", type=AS_PASTED)
@json_option
def list_machines(caisse: str, as_json: bool) -> None:
    """Les logiciels des cabinets dans CAISSE : qui en répond, leurs clés, leur dernier usage."""
    found = in_caisse(caisse, machine_store.every)
    if as_json:
        print_json([_told(one) for one in found])
        return
    table = Table("Logiciel", "Nom", "Cabinet", "Répondant", "Clés", "Dernier usage", "État")
    for one in found:
        used = one.last_used_at.isoformat(timespec="minutes") if one.last_used_at else "–"
        sponsor = one.sponsor_name if one.sponsor_may_answer else f"{one.sponsor_name} (ne répond plus)"
        table.add_row(
            public_id("mch", one.id), one.name, one.cabinet_name, sponsor, str(len(keys_of(one))), used, one.state
        )  # fmt: skip
    Console().print(table)


@click.command("sponsor")
@click.argument("caisse", type=AS_PASTED)
@click.argument("machine_id", type=AS_PASTED)
@click.argument("sponsor", type=AS_PASTED)
@json_option
def change_sponsor(caisse: str, machine_id: str, sponsor: str, as_json: bool) -> None:
    """Une autre personne du cabinet répond du logiciel ; les jetons tirés de la première meurent."""

    async def act(tx: Tx) -> Registered:
        known = await machines.find_machine(tx, _named(machine_id))
        person_id = await _person(tx, known.cabinet_id, sponsor)
        return await machines.change_sponsor(tx, known.id, person_id, now=now())

    _say(_carried_out(caisse, act), as_json)


@click.command("ceiling")
@click.argument("caisse", type=AS_PASTED)
@click.argument("machine_id", type=AS_PASTED)
@click.argument("scope", type=AS_PASTED)
@json_option
def change_ceiling(caisse: str, machine_id: str, scope: str, as_json: bool) -> None:
    """Le plafond des droits du logiciel ; un droit retiré meurt partout en moins d'une seconde."""

    async def act(tx: Tx) -> Registered:
        return await machines.change_ceiling(tx, _named(machine_id), scope.split(), now=now())

    _say(_carried_out(caisse, act), as_json)


@click.command("keys")
@click.argument("caisse", type=AS_PASTED)
@click.argument("machine_id", type=AS_PASTED)
@click.option("--add", "key_file", type=A_FILE, help="Une clé publique de plus (JWK, avec son kid).")
@click.option(
    "--retire",
    "kid",
    type=AS_PASTED,
    help="Cette clé ne prouve plus rien, et les jetons du logiciel meurent.",
)
@json_option
def change_keys(caisse: str, machine_id: str, key_file: Path | None, kid: str | None, as_json: bool) -> None:
    """Les clés du logiciel ; en ajouter une, puis retirer l'ancienne."""

    async def act(tx: Tx) -> Registered:
        if key_file is not None:
            await machines.add_key(tx, _named(machine_id), _read(key_file, _keys), now=now())
        if kid is not None:
            await machines.retire_key(tx, _named(machine_id), kid, now=now())
        return await machines.find_machine(tx, _named(machine_id))

    _say(_carried_out(caisse, act), as_json)


MACHINES = (machine, list_machines, change_sponsor, change_ceiling, change_keys)


def _carried_out(caisse: str, act: Callable[[Tx], Awaitable[Registered]]) -> Registered:
    try:
        return in_caisse(caisse, act)
    except InvalidClientMetadata as refusal:
        misused(str(refusal))
    except DomainError as refusal:
        if type(refusal) not in SENTENCES:
            raise
        refuse(SENTENCES[type(refusal)])


async def _person(tx: Tx, cabinet_id: UUID, named: str) -> UUID:
    """A person of the cabinet, by e-mail address or identifier; whether they may answer is judged after."""
    if "@" not in named:
        return _named(named, "per")
    person_id = await machine_store.collaborator_by_email(tx, cabinet_id, named)
    if person_id is None:
        raise NotASponsor
    return person_id


def _named(written: str, prefix: str = "mch") -> UUID:
    try:
        return parse_public_id(prefix, written)
    except InvalidPublicId:
        misused(f"{written} : un identifiant {prefix}_… est attendu.")


def _read(file: Path, decoder: msgspec.json.Decoder[Read]) -> Read:
    try:
        return read_json(file.read_bytes(), decoder)
    except UnreadableJson as error:
        misused(f"{file} : {error.__cause__ or error}")


def _told(one: Registered) -> dict[str, Any]:
    return {
        "id": public_id("mch", one.id),
        "client_id": one.client_id,
        "state": one.state,
        "name": one.name,
        "cabinet": public_id("cab", one.cabinet_id),
        "cabinet_name": one.cabinet_name,
        "sponsor": public_id("per", one.sponsor_id),
        "sponsor_name": one.sponsor_name,
        "sponsor_may_answer": one.sponsor_may_answer,
        "scopes": metadata_of(one).scope.split(),
        "kids": [key["kid"] for key in keys_of(one)],
        "last_used_at": one.last_used_at,
    }


def _say(one: Registered, as_json: bool) -> None:
    if as_json:
        print_json(_told(one))
        return
    click.echo(f"{one.name} ({public_id('mch', one.id)}) s'authentifie comme {one.client_id}.")
    click.echo(f"Répondant : {one.sponsor_name}. Plafond : {metadata_of(one).scope}.")
    click.echo(f"Clés : {', '.join(key['kid'] for key in keys_of(one))}.")

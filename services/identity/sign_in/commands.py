"""`espace person show | suspend | restore`: one person, whatever their caisses, at the operator's hand."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypedDict
from uuid import UUID

import rich_click as click

from libs.common.database.journal import THE_SYSTEM
from libs.common.database.pool import Database
from libs.common.runtime.cli import AS_PASTED, json_option, print_json
from libs.common.runtime.settings import load_settings
from libs.common.values.email import email_key
from libs.common.values.identifiers import InvalidPublicId, parse_public_id, public_id
from services.identity.sign_in import store
from services.identity.sign_in.store import Person
from services.identity.sign_in.suspend import restore_everywhere, suspend_everywhere

REASON = click.option("--reason", required=True, help="Pourquoi ; le journal de chaque caisse le garde.")


@click.group("person")
def person() -> None:
    """Une personne, par son adresse électronique ou per_….

    Codes de sortie : 0 fait, 1 inconnue ou déjà dans cet état, 2 demande mal formée, 3 configuration refusée.
    """


@person.command("show")
@click.argument("who", type=AS_PASTED)
@json_option
def show(who: str, as_json: bool) -> None:
    """L'état de QUI."""

    async def told(_: Database, found: Person) -> None:
        said = {"id": public_id("per", found.id), "email": found.email, "state": found.state}
        print_json(said) if as_json else click.echo("  ".join(said.values()))

    _with(who, told)


@person.command("suspend")
@click.argument("who", type=AS_PASTED)
@REASON
@json_option
def suspend(who: str, reason: str, as_json: bool) -> None:
    """Suspendre QUI : sessions, consentements en cours et jetons meurent aussitôt, dans toutes les caisses.

    À relancer s'il a été interrompu.
    """

    async def stop(db: Database, found: Person) -> None:
        done = await suspend_everywhere(db, found.id, by=THE_SYSTEM, reason=reason, now=datetime.now(UTC))
        _say(found, "suspended", done, as_json)

    _with(who, stop)


@person.command("restore")
@click.argument("who", type=AS_PASTED)
@REASON
@json_option
def restore(who: str, reason: str, as_json: bool) -> None:
    """Rendre l'accès à QUI, qui se connecte de nouveau ; ce qui est mort le reste."""

    async def let_in(db: Database, found: Person) -> None:
        done = await restore_everywhere(db, found.id, by=THE_SYSTEM, reason=reason, now=datetime.now(UTC))
        _say(found, "active", done, as_json)

    _with(who, let_in)


SENTENCES = {
    (
        "suspended",
        True,
    ): "{email} est suspendu : plus rien de ce qui lui a été donné n'ouvre quoi que ce soit.",
    ("suspended", False): "{email} était déjà suspendu ; ses jetons ont été arrêtés de nouveau.",
    ("active", True): "{email} peut de nouveau se connecter.",
    ("active", False): "{email} n'est pas suspendu : rien n'a été changé.",
}


def _say(found: Person, state: str, done: bool, as_json: bool) -> None:
    if as_json:
        print_json({"id": public_id("per", found.id), "state": state, "changed": done})
    else:
        click.echo(SENTENCES[state, done].format(email=found.email))


def _with(who: str, act: Callable[[Database, Person], Awaitable[None]]) -> None:
    async def run() -> None:
        settings = load_settings()
        settings.require("identity.dsn")
        db = await Database.open(settings.identity.dsn, name="espace person", max_size=1)
        try:
            async with db.across_caisses() as tx:
                found = await store.find_person(tx, **_named(who))
            if found is None:
                raise click.ClickException(f"Personne ne porte ce nom : {who}.")
            await act(db, found)
        finally:
            await db.close()

    asyncio.run(run())


class Named(TypedDict, total=False):
    """How `store.find_person` is asked."""

    email_key: str
    person_id: UUID


def _named(who: str) -> Named:
    if not who.startswith("per_"):
        return {"email_key": email_key(who.strip())}
    try:
        return {"person_id": parse_public_id("per", who)}
    except InvalidPublicId as error:
        raise click.UsageError("Cet identifiant per_… est mal formé.") from error

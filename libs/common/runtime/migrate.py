"""`espace migrate`: bring every service's schema up to date, its roles first when we hold the administrator's key."""

import asyncio
from urllib.parse import unquote, urlsplit

import rich_click as click

from libs.common.database import migrate as migrations
from libs.common.database.roles import KINDS, prepare_roles
from libs.common.database.transaction import LOST_CONNECTION
from libs.common.runtime.child_process import StartRefused
from libs.common.runtime.cli import json_option, print_json
from libs.common.runtime.settings import Settings, SettingsRefused, load_settings
from services.registry import SERVICES


@click.command("migrate")
@click.option(
    "--phase", type=click.Choice(["pre", "post"]), help="Seulement avant, ou après, le déploiement du code."
)
@json_option
def migrate_all(phase: str | None, as_json: bool) -> None:
    """Mettre les schémas de la base à jour ; sans effet la seconde fois."""
    settings = load_settings()
    settings.require(*(f"{service.name}.owner_dsn" for service in SERVICES))
    applied = asyncio.run(bring_up_to_date(settings, phase=phase))
    if as_json:
        print_json({"applied": applied})
        return
    for service, names in applied.items():
        click.echo(f"{service} : {', '.join(names) or 'à jour'}")


async def bring_up_to_date(settings: Settings, *, phase: str | None = None) -> dict[str, list[str]]:
    """Apply what each schema lacks; the names applied, by service. Raises `StartRefused`."""
    try:
        if settings.database.admin_dsn:
            for service in SERVICES:
                await prepare_roles(
                    settings.database.admin_dsn, service.name, _passwords(settings, service.name)
                )
        return {
            service.name: await migrations.migrate(
                settings.service(service.name).owner_dsn, service.migrations, phase=phase
            )
            for service in SERVICES
        }
    except migrations.MigrationRefused as error:
        raise StartRefused(f"Migration refusée : {error}.") from error
    except LOST_CONNECTION as error:
        raise StartRefused(
            f"La base de données ne répond pas ({type(error).__name__}) : est-elle démarrée ?"
        ) from error


def _passwords(settings: Settings, name: str) -> dict[str, str]:
    """The roles' passwords, as the services' own addresses hold them."""
    section = settings.service(name)
    dsns = {"owner": section.owner_dsn, "app": section.dsn, "relay": section.relay_dsn}
    found = {kind: unquote(urlsplit(dsns[kind]).password or "") for kind in KINDS}
    for kind, password in found.items():
        if not password:
            raise SettingsRefused(f"L'adresse de la base de {name}_{kind} n'a pas de mot de passe.")
    return found

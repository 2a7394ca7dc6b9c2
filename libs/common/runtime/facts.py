"""`espace facts show | replay`: the facts that a worker could not digest."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import rich_click as click
from rich.console import Console
from rich.table import Table

from libs.common.bus.connection import Bus, BusUnavailable
from libs.common.bus.hear_again import hear_again
from libs.common.database import dead_letters
from libs.common.database.dead_letters import LaidAside
from libs.common.database.pool import Database
from libs.common.runtime.cli import json_option, print_json
from libs.common.runtime.settings import Settings, load_settings
from services.registry import SERVICES

PATIENCE = 10.0
"""Seconds that NATS may take to answer."""

service_named = click.argument("service", type=click.Choice([one.name for one in SERVICES if one.work]))


@click.group("facts")
def facts() -> None:
    """Les faits qu'un service n'a pas su lire, mis de côté.

    Codes de sortie : 0 fait, 1 refusé, 2 demande mal formée, 3 configuration refusée.
    """


@facts.command("show")
@service_named
@json_option
def show(service: str, as_json: bool) -> None:
    """Ce que SERVICE a mis de côté, le plus ancien d'abord ; jamais ce que disent les faits."""

    async def listed(db: Database, _: Settings) -> list[LaidAside]:
        async with db.across_caisses() as tx:
            return await dead_letters.every(tx)

    aside = _with(service, listed)
    if as_json:
        print_json([_told(one) for one in aside])
        return
    table = Table("Mis de côté le", "Caisse", "Lecteur", "Sujet", "Raison")
    for one in aside:
        table.add_row(f"{one.at:%d/%m/%Y %H:%M} UTC", one.caisse, one.consumer, one.subject, one.reason)
    Console().print(table if aside else "Rien n'est mis de côté.")


@facts.command("replay")
@service_named
@json_option
def replay(service: str, as_json: bool) -> None:
    """Faire relire à SERVICE ce qu'il a mis de côté, une fois la cause réparée ; le reste n'en change pas."""

    async def heard(db: Database, settings: Settings) -> list[LaidAside]:
        bus = Bus.of(settings, service, name="espace facts")
        bus.start()
        try:
            if not await bus.wait_connected(PATIENCE):
                raise BusUnavailable(settings.nats.url)
            return await hear_again(bus, db)
        finally:
            await bus.close()

    try:
        again = _with(service, heard)
    except BusUnavailable as error:
        raise click.ClickException("NATS ne répond pas : rien n'a été changé.") from error
    if as_json:
        print_json([_told(one) for one in again])
    else:
        click.echo(f"{service} les relit : {len(again)}." if again else "Rien n'est à relire.")


def _with(service: str, act: Callable[[Database, Settings], Awaitable[list[LaidAside]]]) -> list[LaidAside]:
    """`act` under the role of the relay, which sees every caisse."""

    async def run() -> list[LaidAside]:
        settings = load_settings()
        settings.require(f"{service}.relay_dsn")
        db = await Database.open(settings.service(service).relay_dsn, name="espace facts", max_size=1)
        try:
            return await act(db, settings)
        finally:
            await db.close()

    return asyncio.run(run())


def _told(one: LaidAside) -> dict[str, Any]:
    return one._asdict()

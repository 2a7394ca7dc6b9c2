"""`espace serve NAME`: one service's HTTP application under granian, until SIGTERM."""

import os
from functools import partial
from typing import Any

import rich_click as click
from granian.constants import Interfaces, Loops
from granian.log import LogLevels
from granian.server import Server

from libs.common.runtime.child_process import StartRefused, die_with_parent, port_is_taken
from libs.common.runtime.logging import configure_logging, logging_configuration
from libs.common.runtime.settings import load_settings
from services.registry import NotInstalled, entry_point, service_named

KILL_AFTER = 3
"""Seconds a worker gets to end its requests; without it granian loses a SIGTERM of its first two seconds."""


@click.command()
@click.argument("name")
@click.option("--workers", default=1, show_default=True, help="Nombre de processus qui répondent.")
def serve(name: str, workers: int) -> None:
    """Servir l'application NAME (identity, adherent, documents ou portal)."""
    try:
        service = service_named(name)
    except LookupError as error:
        raise click.UsageError(str(error)) from error
    settings = load_settings()
    settings.require(f"{name}.base", f"{name}.port", f"{name}.dsn", "keys.key_encryption_key")
    section = settings.service(name)
    if port_is_taken(section.port, section.host):
        raise StartRefused(
            f"Le port {section.port} est déjà pris sur {section.host} : arrêtez le programme qui l'occupe "
            f"(ss -ltnp 'sport = :{section.port}'), ou changez {name}.port."
        )
    configure_logging(name, settings.log_level)
    server = Server(
        service.app,
        address=section.host,
        port=section.port,
        interface=Interfaces.ASGI,
        loop=Loops.asyncio,
        workers=workers,
        workers_kill_timeout=KILL_AFTER,
        respawn_failed_workers=False,
        websockets=False,
        backlog=1024,
        log_dictconfig=logging_configuration(name, settings.log_level),
        log_level=LogLevels(settings.log_level),
        log_access=False,
    )
    server.serve(target_loader=partial(_application, os.getpid()), wrap_loader=True)


def _application(server: int, target: str) -> Any:
    """Build the application inside granian's worker, which ends when its server is killed."""
    if os.getpid() != server:
        die_with_parent(expected_parent=server)
    settings = load_settings()
    configure_logging(target.split(".")[1], settings.log_level)
    try:
        return entry_point(target)(settings)
    except NotInstalled as error:
        raise StartRefused(str(error)) from error

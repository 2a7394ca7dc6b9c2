"""`espace serve NAME`: one service's HTTP application under granian, until SIGTERM."""

import gc
import logging
import os
import sys
from functools import partial
from typing import Any

import rich_click as click
from granian.constants import Interfaces, Loops
from granian.server import Server
from setproctitle import getproctitle

from libs.common.runtime.child_process import StartRefused, die_with_parent, port_is_taken
from libs.common.runtime.settings import Settings, load_settings
from services.registry import entry_point, service_named

KILL_AFTER = 2
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
    settings.require(f"{name}.base", f"{name}.port", f"{name}.dsn", *settings.keys.needs)
    section = settings.service(name)
    answer(service.app, name, section.host, section.port, settings, workers=workers)


def answer(target: str, name: str, host: str, port: int, settings: Settings, *, workers: int = 1) -> None:
    """Serve the application that `target` (`module:create_app`) builds, until SIGTERM. Raises `StartRefused`."""
    if port_is_taken(port, host):
        raise StartRefused(
            f"Le port {port} est déjà pris sur {host} : arrêtez le programme qui l'occupe "
            f"(ss -ltnp 'sport = :{port}'), ou changez le port de {name}."
        )
    # The server itself imports and says as little as possible: five of them start at once on a small machine.
    server = Server(
        target,
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        loop=Loops.auto,
        workers=workers,
        workers_kill_timeout=KILL_AFTER,
        # Granian would name itself; `ps` is to show the command that a person could run.
        process_name=getproctitle(),
        respawn_failed_workers=False,
        websockets=False,
        log_enabled=False,
        log_access=False,
    )
    server.serve(target_loader=partial(_application, os.getpid(), name, target), wrap_loader=False)


def _application(server: int, name: str, target: str) -> Any:
    """Build the application inside granian's worker, which ends when its server is killed."""
    if os.getpid() != server:
        die_with_parent(expected_parent=server)
    from libs.common.runtime.logging import configure_logging

    settings = load_settings()
    configure_logging(name, settings.log_level)
    log = logging.getLogger("espace")
    try:
        application = entry_point(target)(settings)
        # What is imported by now lives as long as the process: without this the collector walks it all
        # again and again, and a request now and then waits 100 ms for that (measured).
        gc.collect()
        gc.freeze()
        log.info("service.serving")
        return application
    except Exception:
        # Logged here: granian's worker would print it as it is, secrets included.
        log.exception("service.cannot_start")
        sys.exit(1)

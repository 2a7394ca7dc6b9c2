"""`espace serve NAME`: one service's HTTP application under uvicorn, until SIGTERM.

One thread answers: it hands no request to another and waits for no interpreter lock. On one core that is worth
a third of every request (docs/decisions/0006). More cores take more processes (`--workers`).
"""

import gc
import logging
import resource
import socket
import sys
from contextlib import suppress
from typing import Any

import rich_click as click
from uvicorn import Config, Server

from libs.common.http.bounded_connection import BoundedConnection
from libs.common.runtime.child_process import StartRefused
from libs.common.runtime.cli import AS_PASTED
from libs.common.runtime.settings import Settings, load_settings
from libs.common.runtime.side_by_side import end_when_told, side_by_side, was_told
from services.registry import entry_point, service_named

END_WITHIN = 2
"""Seconds that requests under way get to end after SIGTERM."""

IDLE_SECONDS = 150
"""Between two requests of a connection: longer than the proxy before us keeps it (deploy/Caddyfile, two minutes),
so that it is never the server who closes while the next request is on its way."""

UNREAD_SECONDS = 30
"""After which a client that takes no byte of what was sent to it is given up by the kernel (tcp(7))."""


@click.command()
@click.argument("name", type=AS_PASTED)
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
    with _bound(name, host, port) as listening:
        end_when_told()
        _open_as_many_connections_as_allowed()

        def serving() -> None:
            _serve(_application(name, target), listening)

        if workers == 1:
            serving()
        else:
            from libs.common.runtime.logging import configure_logging

            configure_logging(name, settings.log_level)
            names = [f"{number} of {workers}" for number in range(1, workers + 1)]
            side_by_side(dict.fromkeys(names, serving), patience=END_WITHIN + 3)


def _bound(name: str, host: str, port: int) -> socket.socket:
    """The address, ours; nobody can connect before the application is ready."""
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_SECONDS * 1000)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise StartRefused(
            f"Le port {port} est déjà pris sur {host} : arrêtez le programme qui l'occupe "
            f"(ss -ltnp 'sport = :{port}'), ou changez le port de {name}."
        ) from error
    return listening


def _open_as_many_connections_as_allowed() -> None:
    # The usual 1,024 files are for programs that call select(2); a thousand slow clients would fill them.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _serve(application: Any, listening: socket.socket) -> None:
    """Answer in this process until SIGTERM; requests under way end first."""
    config = Config(
        application,
        http=BoundedConnection,
        ws="none",
        interface="asgi3",
        lifespan="on",
        log_config=None,
        access_log=False,
        # Whom to believe about a client's address is our settings' business (`libs.common.http`).
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=END_WITHIN,
    )
    _Server(config).run(sockets=[listening])


class _Server(Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """From here on uvicorn hears the signals; one that came while we were imported may have been lost."""
        if was_told():
            self.should_exit = True
        else:
            await super().startup(sockets)


def _application(name: str, target: str) -> Any:
    """Build the application, under logs that redact."""
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
        log.exception("service.cannot_start")
        sys.exit(1)

"""`espace work NAME`: one service's relay, consumers, couriers and sweepers, until SIGTERM.

What must be told at once is done in a process of its own (`Service.urgent`).
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import rich_click as click
import structlog

from libs.common.database.transaction import DatabaseUnavailable
from libs.common.runtime.child_process import StartRefused, port_is_taken
from libs.common.runtime.cli import AS_PASTED
from libs.common.runtime.logging import configure_logging
from libs.common.runtime.settings import Settings, load_settings
from libs.common.runtime.side_by_side import ENDINGS, end_when_told, side_by_side, was_told
from libs.common.runtime.telemetry import give_figures, name_process
from services.registry import NotInstalled, entry_point, service_named

log = structlog.get_logger()

Working = Callable[[Settings, asyncio.Event], Awaitable[None]]

AGAIN_AFTER = 1.0
"""Seconds between two tries to reach PostgreSQL at the start; once there, each duty waits for it by itself."""

LAST_WORDS = 2.0
"""Seconds the work in hand gets to end after SIGTERM; what it leaves is taken up at the next start."""


@click.command()
@click.argument("name", type=AS_PASTED)
def work(name: str) -> None:
    """Faire le travail de fond de NAME : relais, réactions, courrier, balayages."""
    try:
        service = service_named(name)
    except LookupError as error:
        raise click.UsageError(str(error)) from error
    if service.work is None:
        raise click.UsageError(f"Le service {name} n'a pas de travail de fond.")
    settings = load_settings()
    settings.require(f"{name}.dsn", f"{name}.relay_dsn", *settings.keys.needs)
    configure_logging(name, settings.log_level)
    try:
        working = entry_point(service.work)
        urgent = entry_point(service.urgent) if service.urgent is not None else None
    except NotInstalled as error:
        raise StartRefused(str(error)) from error

    def all_but_urgent() -> None:
        _give_figures(name, settings)
        asyncio.run(until_told(working, settings))

    if urgent is None:
        all_but_urgent()
    else:
        end_when_told()
        jobs = {
            "all but urgent": all_but_urgent,
            "urgent": lambda: asyncio.run(until_told(urgent, settings)),
        }
        side_by_side(jobs, patience=LAST_WORDS + 1)


def _give_figures(name: str, settings: Settings) -> None:
    name_process(name, "work")
    section = settings.service(name)
    if section.work_metrics_port:
        if port_is_taken(section.work_metrics_port, section.host):
            raise StartRefused(
                f"Le port {section.work_metrics_port} des mesures est déjà pris sur {section.host} : "
                f"changez {name}.work_metrics_port."
            )
        give_figures(section.host, section.work_metrics_port)


async def _begun(working: Working, settings: Settings, stop: asyncio.Event) -> None:
    """Once PostgreSQL is there: whoever starts everything at once starts us before it answers."""
    while True:
        try:
            return await working(settings, stop)
        except DatabaseUnavailable as error:
            log.warning("work.waiting", reason="DatabaseUnavailable", cause=type(error.__cause__).__name__)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(AGAIN_AFTER):
                await stop.wait()
                return None


async def until_told(working: Working, settings: Settings) -> None:
    """Do the work until SIGTERM or SIGINT, and let what is in hand end."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in ENDINGS:
        loop.add_signal_handler(number, stop.set)
    if was_told():
        stop.set()
    job = asyncio.ensure_future(_begun(working, settings, stop))
    told = asyncio.ensure_future(stop.wait())
    await asyncio.wait({job, told}, return_when=asyncio.FIRST_COMPLETED)
    if job.done() and not stop.is_set():
        log.error("work.ended_by_itself")
    await asyncio.wait({job}, timeout=LAST_WORDS)
    told.cancel()
    if not job.done():
        log.warning("work.cut_short")
        job.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await job

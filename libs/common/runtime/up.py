"""`espace up`: the whole of Espace on one machine, from an empty folder to a page one can click.

In order: the folder, the ports, the secrets; PostgreSQL and NATS; the schemas; the mail catcher, the services and
their workers; the demonstration, once; the addresses. Backwards when told to stop, wherever it stood.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

import rich_click as click
from rich.console import Console

from libs.common.database.create_database import create_database
from libs.common.database.durability import durability_faults
from libs.common.runtime import embedded_nats, embedded_postgres, story_report
from libs.common.runtime.caddy import caddy_command, trusts_itself
from libs.common.runtime.child_process import Command, Process, StartRefused, start, stop, tail
from libs.common.runtime.forked_process import Nursery, without_settings
from libs.common.runtime.generated import write_private
from libs.common.runtime.installation import DATABASE, MAIL_WEB, POSTGRES, Installation
from libs.common.runtime.migrate import bring_up_to_date
from libs.common.runtime.settings import load_settings
from libs.common.runtime.supervisor import Server, Supervisor
from services.registry import SERVICES

STORY_PATIENCE = 90.0
"""Seconds the first journey may take before the addresses are shown without it."""

LEAST_FREE_BYTES = 64 * 1024**2
"""Below it a start that fails is told to have failed of it: PostgreSQL writes files of 16 MiB."""

console = Console(highlight=False, soft_wrap=True)


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    default=Path("var"),
    show_default=True,
    help="Dossier de données.",
)
@click.option(
    "--port-base", default=8400, show_default=True, type=click.IntRange(1024, 65000), help="Premier port."
)
@click.option("--empty", is_flag=True, help="Sans données de démonstration.")
@click.option("--tls", is_flag=True, help="En https, par Caddy et une autorité locale.")
@click.option(
    "--host", "hosts", multiple=True, metavar="NOM", help="Nom servi en plus de localhost (répétable)."
)
@click.option("--ready-file", type=click.Path(path_type=Path), help="Fichier JSON écrit quand tout répond.")
def up(
    data: Path, port_base: int, empty: bool, tls: bool, hosts: tuple[str, ...], ready_file: Path | None
) -> int:
    """Tout démarrer sur cette machine : base, messagerie, services, démonstration. Ctrl-C arrête tout."""
    given = load_settings()
    place = Installation(data.absolute(), port_base, tls, hosts, given.log_level)
    if ready_file is not None:
        ready_file.unlink(missing_ok=True)
    return asyncio.run(_until_told(place, with_demonstration=not empty, ready_file=ready_file))


async def _until_told(place: Installation, *, with_demonstration: bool, ready_file: Path | None) -> int:
    """Run everything until SIGINT or SIGTERM; stop everything, even half-started."""
    nursery = Nursery()
    supervisor = Supervisor(_notice, nursery.start)
    job = asyncio.create_task(_everything(place, supervisor, nursery, with_demonstration, ready_file))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, job.cancel)
    try:
        await job
    except asyncio.CancelledError:
        pass
    except StartRefused as refused:
        raise StartRefused(f"{refused}{_full_disk(place.data)}") from refused
    finally:
        # A second Ctrl-C must not leave servers behind.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, lambda: None)
        began = time.monotonic()
        if ready_file is not None:
            ready_file.unlink(missing_ok=True)
        has_started = bool(supervisor.servers)
        await supervisor.stop()
        await nursery.close()
        # Said of what was running here: after a refusal it would be read as said of the other Espace.
        if has_started or job.cancelled():
            console.print(f"Tout est arrêté ({time.monotonic() - began:.1f} s).")
    return 0


def _full_disk(data: Path) -> str:
    """Why a server that does not start may be right: the last words of its log do not always say it."""
    place = next(folder for folder in (data, *data.parents) if folder.exists())
    free = shutil.disk_usage(place).free
    if free > LEAST_FREE_BYTES:
        return ""
    return f"\nLe disque est plein sous {data} ({free // 1024**2} Mio libres) : faites de la place, puis relancez."


async def _everything(
    place: Installation,
    supervisor: Supervisor,
    nursery: Nursery,
    with_demonstration: bool,
    ready_file: Path | None,
) -> None:
    began = time.monotonic()
    place.open_folder()
    place.wait_for_ports()
    place.write_settings()
    await nursery.open(place.logs / "nursery.log")
    with _step("PostgreSQL 18 et NATS"):
        await embedded_postgres.create_cluster(place.postgres, place.secret("postgres"))
        await supervisor.start([_postgres(place), _nats(place)])
    if place.tls:
        # Before the services: they reach each other by their public addresses and must trust its authority.
        with _step("https (Caddy)"):
            await supervisor.start([_caddy(place)])
    with _step("Schémas de la base"):
        await _prepare_database(place)
    with _step("Services et courrier"):
        # Together: a service is ready once it has heard the revocations that identity's worker announces.
        await supervisor.start([_mail_catcher(place), *_serving(place), *_working(place)])
        await nursery.close()
    is_first = with_demonstration and not place.demonstration.exists()
    has_moved = place.has_moved()
    if has_moved:
        with _step("Nouvelles adresses"):
            await _tell_the_caisses(place)
    if is_first or (has_moved and place.demonstration.exists()):
        await _prepare_demonstration(place)
    answer = json.dumps(place.ready_answer(), ensure_ascii=False, indent=2)
    write_private(place.data / "ready.json", answer)
    console.print(f"\n[bold green]Espace est prêt[/] en {time.monotonic() - began:.1f} s.\n")
    if is_first:
        await _play_the_story(place)
    if ready_file is not None:
        # After the story: a script that waits for this file may then play its own undisturbed.
        write_private(ready_file, answer)
    story_report.print_addresses(console, place)
    await asyncio.Event().wait()


# ── The servers ─────────────────────────────────────────────────────────────


def _postgres(place: Installation) -> Server:
    async def is_ready(process: Process) -> bool:
        return embedded_postgres.is_ready(place.postgres, process.pid)

    return Server(
        "PostgreSQL",
        lambda: embedded_postgres.server_command(place.postgres, place.port(POSTGRES)),
        is_ready,
        place.logs / "postgres.log",
        patience=4,
    )


def _nats(place: Installation) -> Server:
    server = place.nats_server()

    async def is_ready(_: Process) -> bool:
        return await asyncio.to_thread(embedded_nats.is_healthy, server.monitor_port)

    return Server(
        "NATS",
        lambda: embedded_nats.server_command(place.nats, server),
        is_ready,
        place.logs / "nats.log",
        patience=2,
    )


def _mail_catcher(place: Installation) -> Server:
    return Server(
        "mail catcher",
        lambda: _espace(place, "mail-catcher", ["mail-catcher"]),
        _answers(place.listens_on(MAIL_WEB)),
        place.logs / "mail-catcher.log",
        patience=2,
    )


def _serving(place: Installation) -> list[Server]:
    return [
        Server(
            f"serve {service.name}",
            lambda name=service.name: _espace(place, name, ["serve", name]),
            _answers(place.listens_on(service.port_offset)),
            place.logs / f"serve-{service.name}.log",
        )
        for service in SERVICES
    ]


def _working(place: Installation) -> list[Server]:
    async def is_ready(process: Process) -> bool:
        # A worker answers nobody; one that outlives its imports is at work.
        await asyncio.sleep(0.3)
        return process.returncode is None

    return [
        Server(
            f"work {service.name}",
            lambda name=service.name: _espace(place, name, ["work", name]),
            is_ready,
            place.logs / f"work-{service.name}.log",
        )
        for service in SERVICES
        if service.work is not None
    ]


def _caddy(place: Installation) -> Server:
    async def is_ready(_: Process) -> bool:
        return await asyncio.to_thread(trusts_itself, place)

    return Server("Caddy", lambda: caddy_command(place), is_ready, place.logs / "caddy.log", patience=2)


def _espace(place: Installation, name: str, arguments: Sequence[str]) -> Command:
    """One of our own commands, told its own settings only."""
    return _our_command(place.config_of(name), arguments)


def _our_command(config: Path, arguments: Sequence[str]) -> Command:
    # The settings are named in the command, not in the environment: `ps` then shows what each process was told.
    arguments = ["--config", str(config), *arguments]
    return Command(
        [sys.executable, "-m", "libs.common.runtime.cli", *arguments],
        without_settings(),
        directory=Path(__file__).resolve().parents[3],
        arguments=arguments,
    )


def _answers(port: int) -> Callable[[Process], Any]:
    async def is_ready(_: Process) -> bool:
        return await asyncio.to_thread(_is_healthy, port)

    return is_ready


def _is_healthy(port: int) -> bool:
    request = Request(f"http://127.0.0.1:{port}/health/ready", headers={"Host": "localhost"})
    try:
        with build_opener(ProxyHandler({})).open(request, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


# ── What is done once ───────────────────────────────────────────────────────


async def _prepare_database(place: Installation) -> None:
    await create_database(place.dsn("postgres", place.secret("postgres"), "postgres"), DATABASE)
    if faults := await durability_faults(place.admin_dsn):
        raise StartRefused(
            f"PostgreSQL perdrait des écritures confirmées lors d'une coupure ({', '.join(faults)}) : "
            "retirez ces réglages de la base."
        )
    await bring_up_to_date(place.settings)


async def _tell_the_caisses(place: Installation) -> None:
    """Run `espace caisse connect`: each caisse knows its clients, ours too, by their addresses."""
    log = place.logs / "connect.log"
    with log.open("ab") as output:
        process = await start(_espace_operator(place, ["caisse", "connect"]), output.fileno())
    try:
        if await process.wait() != 0:
            raise StartRefused(f"Les caisses n'ont pas appris les nouvelles adresses :\n{tail(log)}")
    finally:
        await stop(process, signal.SIGTERM, 2)


async def _prepare_demonstration(place: Installation) -> None:
    """Run `espace demonstration prepare`, show how far it is, keep what it made."""
    with _step("Données de démonstration") as tell:
        async with _running(place, ["demonstration", "prepare"], "demonstration") as lines:
            async for line in lines:
                if "demo" in line:
                    write_private(place.demonstration, json.dumps(line["demo"], ensure_ascii=False, indent=2))
                    return
                tell(f"{line.get('step')} {line.get('done')}/{line.get('total')}")
    raise StartRefused(
        f"La démonstration n'a pas pu être préparée : voyez {place.logs / 'demonstration.log'}."
    )


async def _play_the_story(place: Installation) -> None:
    """Play the leaflet's journey once; a step that fails is shown, the rest of Espace stays up."""
    steps: dict[str, Any] = {}
    with _step("Le parcours de la plaquette"):
        arguments = ["story", "--json", "--ready-file", str(place.data / "ready.json")]
        log = place.logs / "story.json"
        with log.open("wb") as output:
            process = await start(_espace_operator(place, arguments), output.fileno())
        try:
            async with asyncio.timeout(STORY_PATIENCE):
                await process.wait()
        except TimeoutError:
            pass
        finally:
            await stop(process, signal.SIGTERM, 2)
        with contextlib.suppress(ValueError, IndexError):
            text = log.read_text("utf-8")
            steps = json.loads(text[text.index("{") :])
    story_report.print_story(console, steps, log)


def _espace_operator(place: Installation, arguments: Sequence[str]) -> Command:
    """One of our own commands with the operator's whole settings."""
    command = _our_command(place.config, arguments)
    return replace(command, environment={**command.environment, "ESPACE_LOG_LEVEL": "debug"})


@contextlib.asynccontextmanager
async def _running(
    place: Installation, arguments: Sequence[str], name: str
) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    """Run an operator's command; the JSON objects it prints, one a line. Other lines go to its log."""
    command = _espace_operator(place, arguments)
    with (place.logs / f"{name}.log").open("ab") as log:
        os.fchmod(log.fileno(), 0o600)
        process = await start(command, asyncio.subprocess.PIPE)

        async def lines() -> AsyncIterator[dict[str, Any]]:
            assert process.stdout is not None
            async for raw in process.stdout:
                if raw.startswith(b"{") and raw.rstrip().endswith(b"}") and b'"event"' not in raw:
                    yield json.loads(raw)
                else:
                    log.write(raw)
                    log.flush()

        try:
            yield lines()
        finally:
            await stop(process, signal.SIGTERM, 2)


# ── What a person sees ──────────────────────────────────────────────────────


def _notice(sentence: str) -> None:
    console.print(f"[yellow]{time.strftime('%H:%M:%S')}[/] {sentence}")


@contextmanager
def _step(name: str) -> Iterator[Callable[[str], None]]:
    """Show that `name` is under way, then how long it took; gives a function that shows how far it is."""
    began = time.monotonic()
    with console.status(f"{name}…") as status:

        def tell(far: str) -> None:
            status.update(f"{name} : {far}")

        yield tell
    console.print(f"[green]✓[/] {name} [dim]{time.monotonic() - began:.1f} s[/]")

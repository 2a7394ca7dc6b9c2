"""`espace doctor`: what would stop this installation, or let it lose something, with the remedy."""

import asyncio
import os
import shutil
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import HTTPSHandler, ProxyHandler, build_opener

import msgspec
import rich_click as click

from libs.common.database.create_database import durability_faults
from libs.common.database.transaction import LOST_CONNECTION
from libs.common.runtime import embedded_nats, embedded_postgres
from libs.common.runtime.child_process import StartRefused
from libs.common.runtime.cli import REFUSED, json_option, print_json
from libs.common.runtime.settings import Settings, load_settings
from services.registry import SERVICES

LEAST_FREE_BYTES = 1024**3


class Finding(msgspec.Struct, frozen=True):
    """One thing looked at; `remedy` is empty when it holds."""

    name: str
    holds: bool
    seen: str
    remedy: str = ""


@click.command()
@json_option
def doctor(as_json: bool) -> int:
    """Examiner cette installation ; code 1 si quelque chose ne va pas."""
    settings = load_settings()
    findings = [*examine_machine(settings), *asyncio.run(examine_servers(settings))]
    if as_json:
        print_json(
            {"healthy": all(finding.holds for finding in findings), "findings": msgspec.to_builtins(findings)}
        )
    else:
        for finding in findings:
            mark = click.style("✓", fg="green") if finding.holds else click.style("✗", fg="red")
            click.echo(f"{mark} {finding.name} : {finding.seen}")
            if finding.remedy:
                click.echo(f"  → {finding.remedy}")
    return 0 if all(finding.holds for finding in findings) else REFUSED


def examine_machine(settings: Settings) -> Iterator[Finding]:
    """Interpreter, programs, disk."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    is_recent = sys.version_info >= (3, 11)
    yield Finding("Python", is_recent, version, "" if is_recent else "Installez Python 3.11 ou plus récent.")
    for name, find in (
        ("PostgreSQL embarqué", embedded_postgres.binaries),
        ("NATS embarqué", embedded_nats.binary),
    ):
        try:
            yield Finding(name, True, str(find()))
        except StartRefused as refused:
            yield Finding(name, False, "absent", str(refused))
    folder = settings.files or Path.cwd()
    free = shutil.disk_usage(folder if folder.exists() else Path.cwd()).free
    has_room = free > LEAST_FREE_BYTES
    yield Finding(
        "Disque",
        has_room,
        f"{free / 1024**3:.1f} Gio libres",
        "" if has_room else f"Faites de la place sous {folder}.",
    )
    config = os.environ.get("ESPACE_CONFIG")
    if config and Path(config).stat().st_mode & 0o077:
        yield Finding("Réglages", False, f"{config} est lisible par d'autres", f"chmod 600 {config}")


async def examine_servers(settings: Settings) -> list[Finding]:
    """The database, the broker, the mail relay and each service, as far as the settings name them."""
    findings = [
        await _database(service.name, settings.service(service.name).dsn)
        for service in SERVICES
        if settings.service(service.name).dsn
    ]
    findings.append(await _port("NATS", settings.nats.url.rpartition("//")[2].rpartition("@")[2]))
    findings.append(await _port("Relais de courrier", f"{settings.mail.host}:{settings.mail.port}"))
    for service in SERVICES:
        if base := settings.service(service.name).base:
            findings.append(await asyncio.to_thread(_service, service.name, base, settings.trusted_ca))
    return findings


async def _database(name: str, dsn: str) -> Finding:
    try:
        async with asyncio.timeout(5):
            faults = await durability_faults(dsn)
    except (TimeoutError, *LOST_CONNECTION) as error:
        return Finding(
            f"Base de {name}", False, type(error).__name__, "Démarrez PostgreSQL, vérifiez l'adresse."
        )
    if faults:
        return Finding(
            f"Base de {name}", False, ", ".join(faults), "Une coupure perdrait des écritures : retirez-les."
        )
    return Finding(f"Base de {name}", True, "répond, écritures durables")


async def _port(name: str, address: str) -> Finding:
    host, _, port = address.partition(":")
    try:
        async with asyncio.timeout(3):
            _, writer = await asyncio.open_connection(host, int(port or 4222))
        writer.close()
    except (OSError, ValueError):
        return Finding(name, False, f"{address} ne répond pas", "Démarrez-le, ou corrigez l'adresse.")
    return Finding(name, True, f"{address} répond")


def _service(name: str, base: str, authority: Path | None) -> Finding:
    context = ssl.create_default_context(cafile=str(authority) if authority else None)
    opener = build_opener(ProxyHandler({}), HTTPSHandler(context=context))
    try:
        with opener.open(f"{base}/health/ready", timeout=3) as answer:
            return Finding(f"Service {name}", True, f"{base} prêt ({answer.status})")
    except HTTPError as error:
        said = error.read(500).decode("utf-8", "replace")
        return Finding(
            f"Service {name}", False, f"{base} : {error.code} {said}", "Voyez le contrôle qui manque."
        )
    except OSError as error:
        return Finding(f"Service {name}", False, f"{base} : {error}", f"Démarrez « espace serve {name} ».")

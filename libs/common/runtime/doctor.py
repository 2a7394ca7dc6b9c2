"""`espace doctor`: what would stop this installation, or let it lose something, with the remedy."""

import asyncio
import os
import shutil
import ssl
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import HTTPSHandler, ProxyHandler, build_opener

import msgspec
import rich_click as click

from libs.common.database.backlog import backlog
from libs.common.database.durability import durability_faults
from libs.common.database.pool import Database
from libs.common.keys.root_key import open_key_encryption
from libs.common.runtime import embedded_nats, embedded_postgres
from libs.common.runtime.child_process import StartRefused
from libs.common.runtime.cli import REFUSED, json_option, print_json
from libs.common.runtime.settings import Settings, SettingsRefused, load_settings
from services.registry import ROOT_KEY_PROOF, SERVICES, entry_point

LEAST_FREE_BYTES = 1024**3
LONGEST_WAIT = timedelta(minutes=1)
"""A fact unsent for longer waits for a relay, or for NATS, that is not there."""


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
    """Settings, interpreter, programs, disk."""
    yield _settings_file(os.environ.get("ESPACE_CONFIG"))
    version = ".".join(str(part) for part in sys.version_info[:3])
    is_recent = sys.version_info >= (3, 11)
    yield Finding("Python", is_recent, version, "" if is_recent else "Installez Python 3.11 ou plus récent.")
    programs = (("PostgreSQL embarqué", embedded_postgres.binaries), ("NATS embarqué", embedded_nats.binary))
    for name, find in programs if _starts_its_own_servers(settings) else ():
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


def _starts_its_own_servers(settings: Settings) -> bool:
    """Whether this machine is `espace up`'s, or nobody's yet: an image of production has no embedded server."""
    return settings.demonstration or not any(settings.service(service.name).dsn for service in SERVICES)


def _settings_file(config: str | None) -> Finding:
    if config is None:
        given = [name for name in os.environ if name.startswith("ESPACE_")]
        return Finding(
            "Réglages",
            bool(given),
            f"{len(given)} variables ESPACE_*" if given else "aucun fichier, aucune variable ESPACE_*",
            ""
            if given
            else "Nommez le fichier : espace --config FICHIER doctor (« espace up » écrit var/espace.toml).",
        )
    if Path(config).stat().st_mode & 0o077:
        return Finding("Réglages", False, f"{config} est lisible par d'autres", f"chmod 600 {config}")
    return Finding("Réglages", True, config)


async def examine_servers(settings: Settings) -> list[Finding]:
    """The database, the broker, the mail relay and each service, as far as the settings name them."""
    findings = [
        await _database(service.name, settings.service(service.name).dsn)
        for service in SERVICES
        if settings.service(service.name).dsn
    ]
    findings += [
        await _waiting(service.name, settings.service(service.name).relay_dsn)
        for service in SERVICES
        if service.work and settings.service(service.name).relay_dsn
    ]
    if settings.identity.dsn:
        findings.append(await _root_key(settings))
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
    except Exception as error:
        # Whatever stops it is what was asked for: a wrong password and a missing database too.
        return Finding(
            f"Base de {name}",
            False,
            type(error).__name__,
            f"Démarrez PostgreSQL ; vérifiez l'adresse et le mot de passe de {name}.dsn.",
        )
    if faults:
        return Finding(
            f"Base de {name}", False, ", ".join(faults), "Une coupure perdrait des écritures : retirez-les."
        )
    return Finding(f"Base de {name}", True, "répond, écritures durables")


async def _root_key(settings: Settings) -> Finding:
    """Whether it can be read, and opens what this installation has sealed."""
    name, remedy = "Clé racine", "Remettez la précédente : docs/how-to/keep-the-root-key.md."
    try:
        keys = open_key_encryption(settings)
        db = await Database.open(settings.identity.dsn, name="espace doctor", max_size=1)
        try:
            async with asyncio.timeout(5):
                await entry_point(ROOT_KEY_PROOF)(db, keys)
        finally:
            await db.close()
    except SettingsRefused as refused:
        return Finding(name, False, str(refused), remedy)
    except Exception as error:
        return Finding(name, False, f"non vérifiée : {type(error).__name__}", "Voyez la base de identity.")
    return Finding(name, True, "ouvre ce qui est scellé")


async def _waiting(name: str, relay_dsn: str) -> Finding:
    """Facts that wait for NATS, and those that were laid aside for somebody to look at."""
    try:
        async with asyncio.timeout(5):
            found = await backlog(relay_dsn)
    except Exception as error:
        return Finding(
            f"Faits de {name}", False, type(error).__name__, f"Voyez sa base, et {name}.relay_dsn."
        )
    seen = f"{found.unsent} à envoyer, {found.laid_aside} mis de côté"
    if found.oldest > LONGEST_WAIT:
        age = found.oldest.total_seconds() / 60
        return Finding(
            f"Faits de {name}",
            False,
            f"{seen}, le plus ancien attend depuis {age:.0f} min",
            f"Démarrez NATS et « espace work {name} » ; rien n'est perdu, ils partiront d'eux-mêmes.",
        )
    if found.laid_aside:
        return Finding(
            f"Faits de {name}",
            False,
            seen,
            "Cherchez consumer.failed dans son journal : docs/how-to/when-something-breaks.md.",
        )
    return Finding(f"Faits de {name}", True, seen)


async def _port(name: str, address: str) -> Finding:
    """NATS and SMTP speak first: a process that hangs has its connections taken by the kernel, and greets nobody."""
    host, _, port = address.partition(":")
    try:
        async with asyncio.timeout(3):
            reader, writer = await asyncio.open_connection(host, int(port or 4222))
            try:
                if not await reader.read(1):
                    raise ConnectionResetError
            finally:
                writer.close()
    except (OSError, ValueError):
        return Finding(
            name, False, f"{address} ne répond pas", "Démarrez-le, relancez-le, ou corrigez l'adresse."
        )
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

"""Espace as in production, on one core: PostgreSQL with its durable settings, NATS, `espace serve identity`."""

import asyncio
import base64
import os
import secrets
import signal
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
from msgspec.structs import replace

from bench.http_load import ask_once, request
from bench.processes import on_server_core
from libs.common.access.signatures import SigningKey
from libs.common.database.migrate import migrate
from libs.common.database.pool import Database
from libs.common.database.roles import KINDS, prepare_roles
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.runtime.embedded_nats import NatsServer, embedded_nats
from libs.common.runtime.embedded_postgres import PostgresServer, embedded_postgres
from libs.common.runtime.settings import (
    KeySettings,
    NatsSettings,
    ServiceSettings,
    Settings,
    to_environment,
)
from libs.common.values.caisse_slug import CaisseSlug, parse_caisse_slug
from services.identity.caisses.add import add_caisse
from services.identity.caisses.caisse import Caisse, CaisseSettings
from services.registry import ROOT

CAISSE = parse_caisse_slug("mediterranee")
DATABASE = "espace"
READY_WITHIN = 30


@dataclass
class Installation:
    """Servers and a database; the identity process is started and stopped by itself."""

    postgres: PostgresServer
    settings: Settings
    db: Database
    keys: KeyEncryption
    folder: Path

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.settings.identity.port}"

    @property
    def postgres_pid(self) -> int:
        return int((self.postgres.data / "postmaster.pid").read_text().split("\n", 1)[0])

    def beside(self, offset: int) -> "Installation":
        """The same servers and database, for a second identity on another port and under another address."""
        identity = self.settings.identity
        port = identity.port + offset
        moved = replace(identity, port=port, base=f"http://127.0.0.1:{port}")
        return Installation(
            self.postgres, replace(self.settings, identity=moved), self.db, self.keys, self.folder
        )

    @asynccontextmanager
    async def identity(self, tree: Path = ROOT) -> AsyncIterator["Served"]:
        """`espace serve identity` of the checkout `tree` in the block; `ready_s` is its cold start."""
        async with self.served(
            ["libs.common.runtime.cli", "serve", "identity"], self.host, tree=tree
        ) as found:
            yield found

    @asynccontextmanager
    async def served(
        self, command: list[str], host: str, *, path: str = "/health/ready", tree: Path = ROOT
    ) -> AsyncIterator["Served"]:
        """`python -m command` on the server's core, ready once `host` answers 200 at `path`."""
        began = time.perf_counter()
        async with self.started(command, tree=tree) as process:
            await _answers(host, path, process)
            yield Served(process.pid, time.perf_counter() - began)

    @asynccontextmanager
    async def started(self, command: list[str], *, tree: Path = ROOT) -> AsyncIterator[Process]:
        """`python -m command` on the server's core, with this installation's settings, until the block ends."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ESPACE_")}
        with on_server_core(), (self.folder / "served.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                str(ROOT / ".venv" / "bin" / "python"), "-m", *command,
                env=environment | to_environment(self.settings), stdout=log, stderr=log, cwd=tree,
            )  # fmt: skip
        try:
            yield process
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
                await asyncio.wait_for(process.wait(), 15)


@dataclass(frozen=True)
class Served:
    pid: int
    ready_s: float


async def _answers(host: str, path: str, process: Process) -> None:
    deadline = time.monotonic() + READY_WITHIN
    while time.monotonic() < deadline:
        if process.returncode is not None:
            raise RuntimeError(f"the server on {host} ended at once ({process.returncode})")
        try:
            if (await ask_once(host, request("GET", host, path))).status == 200:
                return
        except OSError:
            pass
        await asyncio.sleep(0.01)
    raise RuntimeError(f"{host}{path} does not answer")


@asynccontextmanager
async def installation(folder: Path, port: int) -> AsyncIterator[Installation]:
    """An empty installation in `folder` whose identity will listen on `port`; servers on the server's core."""
    async with AsyncExitStack() as stack:
        with on_server_core():
            postgres = await stack.enter_async_context(embedded_postgres(folder / "postgres"))
            nats = await stack.enter_async_context(embedded_nats(folder / "nats"))
        passwords = {kind: secrets.token_urlsafe(16) for kind in KINDS}
        await _create(postgres, passwords)
        key = secrets.token_bytes(32)
        settings = _settings(postgres, nats, passwords, port, key, folder)
        db = await Database.open(settings.identity.dsn, name="bench", max_size=4)
        stack.push_async_callback(db.close)
        await open_caisse(db, KeyEncryption(key), CAISSE)
        yield Installation(postgres, settings, db, KeyEncryption(key), folder)


async def _create(postgres: PostgresServer, passwords: dict[str, str]) -> None:
    connection = await asyncpg.connect(postgres.dsn())
    await connection.execute(f"CREATE DATABASE {DATABASE}")
    await connection.close()
    await prepare_roles(postgres.dsn(DATABASE), "identity", passwords)
    owner = postgres.dsn(DATABASE, user="identity_owner", password=passwords["owner"])
    await migrate(owner, ROOT / "services" / "identity" / "migrations")


def _settings(
    postgres: PostgresServer, nats: NatsServer, passwords: dict[str, str], port: int, key: bytes, folder: Path
) -> Settings:
    def section(service: str, offset: int) -> ServiceSettings:
        def dsn(kind: str) -> str:
            return postgres.dsn(DATABASE, user=f"{service}_{kind}", password=passwords[kind])

        return ServiceSettings(
            base=f"http://127.0.0.1:{port + offset}",
            port=port + offset,
            dsn=dsn("app"),
            relay_dsn=dsn("relay"),
            owner_dsn=dsn("owner"),
            nats_user=service,
            nats_password=nats.passwords[service],
            client_key=SigningKey.generate("ES256").pem(),
        )

    return Settings(
        identity=section("identity", 0),
        adherent=section("adherent", 1),
        documents=section("documents", 2),
        portal=section("portal", 3),
        nats=NatsSettings(url=nats.url),
        # The load plays our proxy: each visitor then has a network of their own.
        trusted_proxies=("127.0.0.1",),
        keys=KeySettings(key_encryption_key=base64.urlsafe_b64encode(key).decode().rstrip("=")),
        post_office=folder / "post",
        files=folder / "files",
    )


async def open_caisse(db: Database, keys: KeyEncryption, slug: CaisseSlug) -> None:
    """As `espace caisse add` does."""
    wanted = Caisse(
        slug=slug,
        name=f"Caisse {slug}",
        network_number="13",
        siren="732829320",
        address=[],
        phone="04 00 00 00 00",
        email="contact@caisse.example",
        website="https://caisse.example",
        mail_from="ne-pas-repondre@caisse.example",
        settings=CaisseSettings(),
        created_at=datetime.now(UTC),
    )
    async with db.transaction(slug) as tx:
        await add_caisse(tx, keys, wanted)

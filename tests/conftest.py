"""Real servers for every test: one PostgreSQL and one NATS a run, one set of databases a file.

A migrated template is made once; each test file clones it (0.2 s), so that files
neither see nor slow each other. Nothing of ours is replaced by a double.
"""

import base64
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import httpx
import pytest

from libs.common.access.signatures import SigningKey
from libs.common.database.migrate import migrate
from libs.common.database.pool import Database
from libs.common.database.roles import KINDS, prepare_roles
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.runtime.embedded_nats import NatsServer, embedded_nats
from libs.common.runtime.embedded_postgres import PostgresServer, embedded_postgres
from libs.common.runtime.settings import KeySettings, NatsSettings, ServiceSettings, Settings

ROOT = Path(__file__).resolve().parent.parent
SERVICES = ("identity", "adherent", "documents", "portal")
PASSWORDS = {kind: f"test-password-of-{kind}" for kind in KINDS}
TEMPLATE = "espace_template"
MAJOR = int(os.environ.get("POSTGRES_MAJOR", "18"))
"""The wheel has 16 too; `POSTGRES_MAJOR=16 make test` runs everything on it."""
CLIENT_KEY = SigningKey.generate("ES256").pem()
"""The services' own key as OAuth clients, in this run."""


@dataclass
class Servers:
    """The servers of this run. `postgres` holds the template; `nats` has the services' users."""

    postgres: PostgresServer
    nats: NatsServer
    folder: Path


async def no_cache_keeps_a_redirect(answer: httpx.Response) -> None:
    """openid.md line 19, of every 303 that a test meets: its address may hold a code, a state or a handle."""
    assert answer.status_code != 303 or answer.headers.get("cache-control") == "no-store", answer.url


class HeldClock:
    """A clock that a test moves: `clock()` is now, `clock.forward(hours=1)` is later."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC).replace(microsecond=0)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **amount: float) -> datetime:
        self.now += timedelta(**amount)
        return self.now


@pytest.fixture(scope="session")
async def servers() -> AsyncIterator[Servers]:
    folder = Path(tempfile.mkdtemp(prefix="espace-tests-"))
    try:
        async with AsyncExitStack() as stack:
            postgres = await stack.enter_async_context(embedded_postgres(folder / "postgres", major=MAJOR))
            nats = await stack.enter_async_context(embedded_nats(folder / "nats"))
            await _make_template(postgres)
            yield Servers(postgres, nats, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _make_template(postgres: PostgresServer) -> None:
    connection = await asyncpg.connect(postgres.dsn())
    await connection.execute(f"CREATE DATABASE {TEMPLATE}")
    await connection.close()
    for service in SERVICES:
        await prepare_roles(postgres.dsn(TEMPLATE), service, PASSWORDS)
        owner = postgres.dsn(TEMPLATE, user=f"{service}_owner", password=PASSWORDS["owner"])
        await migrate(owner, ROOT / "services" / service / "migrations")


@pytest.fixture(scope="module")
async def database_name(servers: Servers) -> AsyncIterator[str]:
    """A fresh migrated database for this test file."""
    name = f"test_{secrets.token_hex(6)}"
    connection = await asyncpg.connect(servers.postgres.dsn())
    try:
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
        yield name
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await connection.close()


@pytest.fixture(scope="module")
def settings(servers: Servers, database_name: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of an installation on this file's database; addresses are under `*.example.test`."""
    folder = tmp_path_factory.mktemp("data")

    def section(service: str) -> ServiceSettings:
        def dsn(kind: str) -> str:
            return servers.postgres.dsn(database_name, user=f"{service}_{kind}", password=PASSWORDS[kind])

        return ServiceSettings(
            base=f"https://{'id' if service == 'identity' else service}.example.test",
            dsn=dsn("app"),
            relay_dsn=dsn("relay"),
            owner_dsn=dsn("owner"),
            nats_user=service,
            nats_password=servers.nats.passwords[service],
            client_key=CLIENT_KEY,
        )

    return Settings(
        identity=section("identity"),
        adherent=section("adherent"),
        documents=section("documents"),
        portal=section("portal"),
        nats=NatsSettings(url=servers.nats.url),
        keys=KeySettings(key_encryption_key=base64.urlsafe_b64encode(b"k" * 32).decode().rstrip("=")),
        demonstration=True,
        allowed_hosts=("*.example.test",),
        post_office=folder / "post",
        files=folder / "files",
    )


@pytest.fixture(scope="session")
def keys() -> KeyEncryption:
    return KeyEncryption(b"k" * 32)


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


async def _opened(dsn: str) -> AsyncGenerator[Database, None]:
    database = await Database.open(dsn, name="tests", max_size=20)
    yield database
    await database.close()


@pytest.fixture(scope="module")
async def identity_db(settings: Settings) -> AsyncIterator[Database]:
    async for database in _opened(settings.identity.dsn):
        yield database


@pytest.fixture(scope="module")
async def identity_relay(settings: Settings) -> AsyncIterator[Database]:
    async for database in _opened(settings.identity.relay_dsn):
        yield database


@pytest.fixture(scope="module")
async def adherent_db(settings: Settings) -> AsyncIterator[Database]:
    async for database in _opened(settings.adherent.dsn):
        yield database


@pytest.fixture(scope="module")
async def adherent_relay(settings: Settings) -> AsyncIterator[Database]:
    async for database in _opened(settings.adherent.relay_dsn):
        yield database


@pytest.fixture(scope="module")
async def documents_db(settings: Settings) -> AsyncIterator[Database]:
    async for database in _opened(settings.documents.dsn):
        yield database


@pytest.fixture(scope="module")
async def documents_relay(settings: Settings) -> AsyncIterator[Database]:
    async for database in _opened(settings.documents.relay_dsn):
        yield database


@pytest.fixture(scope="module")
async def portal_db(settings: Settings) -> AsyncIterator[Database]:
    async for database in _opened(settings.portal.dsn):
        yield database

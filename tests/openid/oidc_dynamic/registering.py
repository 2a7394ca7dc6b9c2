"""Clients that register themselves, and manage themselves afterwards (RFC 7591, RFC 7592)."""

import hashlib
import secrets
from datetime import timedelta
from typing import Any

import httpx
import msgspec

from libs.common.access.signatures import SigningKey
from services.identity.openid import client_store
from services.identity.openid.clients import ClientMetadata
from tests.openid.party import Issuer, Party

CALLBACK = "https://client.example/cb"


async def invitation(issuer: Issuer, profile: str = "compat", uses: int = 1) -> str:
    token, now = secrets.token_urlsafe(24), issuer.clock()
    async with issuer.db.transaction(issuer.caisse) as tx:
        await client_store.add_initial_token(
            tx, hashlib.sha256(token.encode()).digest(), profile=profile, uses=uses,
            expires_at=now + timedelta(days=1), now=now,
        )  # fmt: skip
    return token


async def post(issuer: Issuer, token: str, body: dict[str, Any]) -> httpx.Response:
    async with issuer.http() as http:
        return await http.post(
            f"/{issuer.caisse}/register", json=body, headers={"Authorization": f"Bearer {token}"}
        )


async def register(issuer: Issuer, profile: str = "compat", **metadata: Any) -> tuple[Party, dict[str, Any]]:
    key = metadata.pop("key", None) or SigningKey.generate("ES256")
    body = {"redirect_uris": [CALLBACK], "client_name": "Dynamique", **metadata}
    answer = await post(issuer, await invitation(issuer, profile), body)
    assert answer.status_code == 201, answer.text
    told = answer.json()
    fields = {name: value for name, value in told.items() if name in ClientMetadata.__struct_fields__}
    party = Party(
        issuer, told["client_id"], key, msgspec.convert(fields, ClientMetadata), told.get("client_secret")
    )
    return party, told


async def manage(issuer: Issuer, told: dict[str, Any], method: str, body: dict[str, Any] | None = None,
                 token: str | None = None) -> httpx.Response:  # fmt: skip
    headers = {"Authorization": f"Bearer {token or told['registration_access_token']}"}
    async with issuer.http() as http:
        return await http.request(method, told["registration_client_uri"], json=body, headers=headers)

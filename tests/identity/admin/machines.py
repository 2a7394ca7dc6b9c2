"""Programs of a caisse: registered clients with keys, their own tokens and proofs."""

from dataclasses import dataclass
from typing import Any

import httpx
import msgspec
from litestar import Litestar
from litestar.types import Receive, Scope, Send

from libs.common.access.rights import ADMINISTRATION
from libs.common.access.service_client import DpopAuth
from services.identity.openid.clients import CLIENT_CREDENTIALS, ClientMetadata
from tests.openid.party import Issuer, Party

EVERYTHING = " ".join(sorted(ADMINISTRATION))


class Itself:
    """The way from identity's guard to identity's own keys, in one process."""

    app: Litestar

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


@dataclass
class Machine:
    """A client with a token of its own."""

    party: Party
    token: str

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """`key="…"` is the Idempotency-Key; `caisse="…"` asks at another caisse."""
        issuer = self.party.issuer
        caisse = headers.pop("caisse", issuer.caisse)
        sent = {"Idempotency-Key": headers.pop("key")} if "key" in headers else {}
        clock = issuer.clock
        auth = DpopAuth(self.party.dpop, self.token, clock=lambda: clock().timestamp())
        async with issuer.http() as http:
            return await http.request(
                method,
                f"/{caisse}/admin{path}",
                headers=sent | headers,
                content=None if body is None else msgspec.json.encode(body),
                auth=auth,
            )


def of_machines(scope: str = EVERYTHING, **changes: Any) -> dict[str, Any]:
    """Metadata of a client that acts in its own name."""
    return {
        "client_name": "Programme de la caisse",
        "redirect_uris": (),
        "post_logout_redirect_uris": (),
        "grant_types": (CLIENT_CREDENTIALS,),
        "response_types": (),
        "resources": (),
        "consent": "explicit",
        "scope": scope,
        **changes,
    }


def described(metadata: ClientMetadata) -> dict[str, Any]:
    """Metadata as a program sends it."""
    described: dict[str, Any] = msgspec.to_builtins(metadata)
    return described


async def a_machine(issuer: Issuer, scope: str = EVERYTHING) -> Machine:
    party = await issuer.client(**of_machines(scope))
    answer = await party.post("/token", {"grant_type": CLIENT_CREDENTIALS})
    assert answer.status_code == 200, answer.text
    return Machine(party, answer.json()["access_token"])

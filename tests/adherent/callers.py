"""Callers of the APIs: an issuer's key of our own, tokens of the three shapes, and requests with proofs."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID, uuid4

import httpx
from litestar import Litestar

from libs.common.access.access_token import KeySource
from libs.common.access.revocations import Verdict
from libs.common.access.service_client import DpopAuth
from libs.common.access.signatures import SigningKey, VerifyingKey, sign_compact
from libs.common.runtime.settings import Settings
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.identifiers import public_id


class OneIssuer(KeySource):
    """Publishes one key for every caisse, as identity's JWKS would."""

    def __init__(self) -> None:
        self.key = SigningKey.generate()

    async def find(self, caisse: CaisseSlug, kid: str) -> VerifyingKey | None:
        return self.key.verifying() if kid == self.key.kid else None

    def edition(self, caisse: CaisseSlug) -> int:
        return 0


async def says_standing(caisse: CaisseSlug, token: str) -> Verdict:
    """Identity's introspection, when nothing was revoked."""
    return Verdict.STANDING


class Caller:
    """One holder of one key, with a token for one audience."""

    def __init__(
        self,
        issuer: OneIssuer,
        settings: Settings,
        service: str,
        caisse: str,
        *,
        key: SigningKey | None = None,
    ) -> None:
        self._issuer = issuer
        self._settings = settings
        self._service = service
        self._caisse = caisse
        self._key = key or SigningKey.generate()
        self._nonces: dict[str, str] = {}

    def own(self, adherent_id: UUID, person_id: UUID, *scopes: str) -> str:
        """A person of the firm."""
        return self._signed(
            {
                "sub": public_id("per", person_id),
                "adherent": public_id("adh", adherent_id),
                "client_id": "portal",
            },
            scopes,
        )

    def service(self, client_id: str, *scopes: str) -> str:
        """A service in its own name."""
        return self._signed({"sub": client_id, "client_id": client_id}, scopes)

    def delegated(
        self,
        adherent_id: UUID,
        person_id: UUID,
        cabinet_id: UUID,
        mandate_id: UUID,
        *scopes: str,
        version: int = 7,
        establishments: Sequence[str] = ("*",),
        machine: UUID | None = None,
    ) -> str:
        """A collaborator of a cabinet, under a mandate; or the `machine` that they answer for."""
        who = {"sub": public_id("per", person_id)}
        if machine is not None:
            who = {"sub": public_id("mch", machine), "sponsor": public_id("per", person_id)}
        now = int(datetime.now(UTC).timestamp())
        return self._signed(
            {
                "sub": public_id("adh", adherent_id),
                "client_id": "portal",
                "act": {**who, "org": public_id("cab", cabinet_id)},
                "authorization_details": [
                    {
                        "type": "mandate",
                        "mandate": public_id("mdt", mandate_id),
                        "ver": version,
                        "family": "contributions",
                        "role": "principal",
                        "establishments": list(establishments),
                        "not_after": now + 86400,
                    }
                ],
            },
            scopes,
            lifetime=300,
        )

    def _signed(self, claims: dict[str, Any], scopes: Sequence[str], lifetime: int = 600) -> str:
        now = int(datetime.now(UTC).timestamp())
        section = self._settings.service(self._service)
        everything = {
            "iss": f"{self._settings.identity.base}/{self._caisse}",
            "aud": f"{section.base}/{self._caisse}",
            "caisse": self._caisse,
            "jti": str(uuid4()),
            "iat": now,
            "exp": now + lifetime,
            "scope": " ".join(scopes),
            "acr": "pwd",
            "amr": ["pwd"],
            "auth_time": now,
            "cnf": {"jkt": self._key.kid},
            **claims,
        }
        return sign_compact(self._issuer.key, {"typ": "at+jwt", "kid": self._issuer.key.kid}, everything)

    async def ask(
        self, http: httpx.AsyncClient, method: str, path: str, token: str, **options: Any
    ) -> httpx.Response:
        """One request with its proof; the server's nonce is taken and the request signed again."""
        auth = DpopAuth(self._key, token, nonces=self._nonces)
        return await http.request(method, f"/{self._caisse}{path}", auth=auth, **options)


@asynccontextmanager
async def served(app: Litestar, base: str) -> AsyncGenerator[httpx.AsyncClient, None]:
    """The application in this process, with its lifespan, spoken to over HTTP semantics.

    The lifespan begins and ends in one task of its own: a fixture is taken down in
    another task than it was set up in.
    """
    begun, over = asyncio.Event(), asyncio.Event()

    async def live() -> None:
        async with app.lifespan():
            begun.set()
            await over.wait()

    living = asyncio.create_task(live())
    waiting = asyncio.create_task(begun.wait())
    await asyncio.wait({living, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if living.done():
        await living
    try:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app=cast(Any, app)), base_url=base
        ) as http:
            yield http
    finally:
        over.set()
        await living

"""What identity says of itself: the endpoints of each caisse's issuer, by discovery.

Specification: OpenID Connect Discovery 1.0 §4, RFC 8414, RFC 9126 §5.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

import httpx
import msgspec
from msgspec import Struct

from libs.common.values.caisse_slug import CaisseSlug
from services.portal.refusals import ServiceDown

FRESH: Final = 300.0
"""Seconds before the document is read again; an old one still serves while identity is away."""

RETRY: Final = 5.0
"""Seconds before it is, after identity did not answer."""


class Provider(Struct, frozen=True):
    """The endpoints of one issuer."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    pushed_authorization_request_endpoint: str
    end_session_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str = ""


class Providers:
    """Each caisse's provider, remembered."""

    def __init__(
        self, http: httpx.AsyncClient, identity_base: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._http = http
        self._base = identity_base.rstrip("/")
        self._clock = clock
        self._known: dict[CaisseSlug, tuple[Provider, float]] = {}
        self._reading = asyncio.Lock()

    def issuer(self, caisse: CaisseSlug) -> str:
        return f"{self._base}/{caisse}"

    async def of(self, caisse: CaisseSlug) -> Provider:
        """The provider of `caisse`, which is one. Raises `ServiceDown` when nothing is known and identity is silent."""
        known = self._known.get(caisse)
        # Whoever can do with what is known waits for nobody's reading.
        if known is not None and (self._clock() < known[1] or self._reading.locked()):
            return known[0]
        async with self._reading:
            known = self._known.get(caisse)
            if known is not None and self._clock() < known[1]:
                return known[0]
            try:
                provider, until = await self._read(caisse), self._clock() + FRESH
            except (httpx.HTTPError, msgspec.MsgspecError, ValueError) as error:
                if known is None:
                    raise ServiceDown("identity") from error
                provider, until = known[0], self._clock() + RETRY
            self._known[caisse] = (provider, until)
            return provider

    async def _read(self, caisse: CaisseSlug) -> Provider:
        issuer = self.issuer(caisse)
        answer = await self._http.get(f"{issuer}/.well-known/openid-configuration")
        answer.raise_for_status()
        document: Any = msgspec.json.decode(answer.content)
        provider = msgspec.convert(document, Provider)
        # OpenID Connect Discovery §4.3: the issuer must be the one asked, or anyone could answer for it.
        if provider.issuer != issuer:
            raise ValueError("another issuer answers")
        return provider

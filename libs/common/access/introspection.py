"""Asking the issuer itself, when the stream of revocations is silent (RFC 7662)."""

import asyncio
from typing import Final, Protocol

import httpx
import msgspec
import structlog
from msgspec import Struct

from libs.common.access.revocations import Verdict
from libs.common.access.service_client import ApiUnavailable, ask_issuer
from libs.common.access.signatures import SigningKey
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.foreign_json import UnreadableJson, read_json

log = structlog.get_logger()

PATIENCE: Final = 0.15
"""Seconds; a delegated request is refused rather than kept waiting."""

AT_ONCE: Final = 32


class Introspect(Protocol):
    """Asks whether a token, verified already, still stands. `UNKNOWN` when nobody answers."""

    async def __call__(self, caisse: CaisseSlug, token: str) -> Verdict: ...


class _Answer(Struct):
    active: bool


_answers = msgspec.json.Decoder(_Answer)


class IntrospectAtIssuer:
    """Asks `{issuer}/introspect` as the service's own client."""

    def __init__(self, http: httpx.AsyncClient, issuer_base: str, *, client_id: str, key: SigningKey) -> None:
        self._http = http
        self._issuer_base = issuer_base
        self._client_id = client_id
        self._key = key
        self._places = asyncio.Semaphore(AT_ONCE)

    async def __call__(self, caisse: CaisseSlug, token: str) -> Verdict:
        issuer = f"{self._issuer_base}/{caisse}"
        form = {"token": token, "token_type_hint": "access_token"}
        try:
            async with asyncio.timeout(PATIENCE), self._places:
                answer = await ask_issuer(
                    self._http,
                    f"{issuer}/introspect",
                    form,
                    issuer=issuer,
                    client_id=self._client_id,
                    key=self._key,
                    dpop_key=None,
                )
            if answer.status_code != 200:
                log.warning("introspection.refused", status=answer.status_code)
                return Verdict.UNKNOWN
            told = read_json(answer.content, _answers)
        except (ApiUnavailable, TimeoutError, UnreadableJson) as error:
            log.info("introspection.unavailable", reason=type(error).__name__)
            return Verdict.UNKNOWN
        return Verdict.STANDING if told.active else Verdict.REVOKED

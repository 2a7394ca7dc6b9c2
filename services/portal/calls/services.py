"""Calls to the services on behalf of the person signed in, and the words for their refusals."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, Literal

import httpx
import msgspec
from msgspec import Struct

from libs.common.access.dpop import dpop_proof
from libs.common.refusals import NotFound
from libs.common.runtime.settings import Settings
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.foreign_json import UnreadableJson, read_json
from services.portal.calls.challenge import refusal_of
from services.portal.refusals import MandateOver, NotAllowed, ServiceDown, SessionOver
from services.portal.session.session import Session
from services.portal.session.tokens import SessionTokens

ServiceName = Literal["identity", "adherent", "documents"]

LARGEST_FILE: Final = 20 * 1024 * 1024


class Answer(Struct, frozen=True):
    """A service's answer, read whole. `body` is its JSON, or None."""

    status: int
    body: Any
    content: bytes
    media_type: str
    challenge: str
    """`WWW-Authenticate`, or nothing."""


class Services:
    """The three services, called with the right token, proof and nonce."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        tokens: SessionTokens,
        settings: Settings,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._http = http
        self._tokens = tokens
        self._clock = clock
        self._nonces: dict[str, str] = {}
        self._bases: dict[ServiceName, str] = {
            "identity": settings.identity.base.rstrip("/"),
            "adherent": settings.adherent.base.rstrip("/"),
            "documents": settings.documents.base.rstrip("/"),
        }

    def audience(self, service: ServiceName, caisse: CaisseSlug) -> str:
        return f"{self._bases[service]}/{caisse}"

    async def get(self, session: Session, service: ServiceName, path: str, *, mandate: str = "") -> Any:
        """The JSON at `{service}/{caisse}{path}`. Raises the refusals of this module's callers."""
        return (await self.call(session, service, "GET", path, mandate=mandate)).body

    async def call(
        self,
        session: Session,
        service: ServiceName,
        method: Literal["GET", "POST"],
        path: str,
        *,
        mandate: str = "",
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One call. 409 and 422 are answers; other refusals raise `SessionOver`, `MandateOver`, `StepUpWanted`,
        `NotAllowed`, `NotFound` or `ServiceDown`.

        A refused token is dropped and asked again once: it may have been cut off by a floor that the session or
        the mandate has survived.
        """
        audience = self.audience(service, session.caisse)
        for last in (False, True):
            answer = await self._send(session, service, method, path, mandate, body, dict(headers or {}))
            if answer.status != 401:
                return _judged(answer, service)
            if (refusal := refusal_of(answer.challenge, service)) is not None:
                raise refusal
            await self._tokens.forget(session, audience, mandate)
            if last and mandate:
                raise MandateOver("refused by the service")
        raise SessionOver("refused by the service")

    async def _send(
        self,
        session: Session,
        service: ServiceName,
        method: str,
        path: str,
        mandate: str,
        body: Any,
        headers: dict[str, str],
    ) -> Answer:
        audience = self.audience(service, session.caisse)
        now = self._clock()
        if mandate:
            token = await self._tokens.delegated(session, audience, mandate, now)
        else:
            token = await self._tokens.own(session, audience, now)
        url = f"{audience}{path}"
        nonce = self._nonces.get(service)
        answer = await self._once(session, service, method, url, token, nonce, body, headers)
        challenge = answer.headers.get("www-authenticate", "")
        # RFC 9449 §9: the service hands out its nonce with a refusal; the call is made again once.
        if answer.status_code == 401 and "use_dpop_nonce" in challenge and self._nonces.get(service) != nonce:
            nonce = self._nonces.get(service)
            answer = await self._once(session, service, method, url, token, nonce, body, headers)
        return _read(answer)

    async def _once(
        self,
        session: Session,
        service: ServiceName,
        method: str,
        url: str,
        token: str,
        nonce: str | None,
        body: Any,
        headers: dict[str, str],
    ) -> httpx.Response:
        sent = {
            **headers,
            "Accept": "application/json, application/pdf",
            "Authorization": f"DPoP {token}",
            "DPoP": dpop_proof(session.key, method, url, access_token=token, nonce=nonce),
        }
        try:
            answer = await self._http.request(method, url, json=body, headers=sent)
        except httpx.HTTPError as error:
            raise ServiceDown(service) from error
        if fresh := answer.headers.get("dpop-nonce"):
            self._nonces[service] = fresh
        return answer


_anything: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Any)


def _read(answer: httpx.Response) -> Answer:
    media_type = answer.headers.get("content-type", "").partition(";")[0].strip()
    body: Any = None
    if media_type.endswith("json"):
        try:
            body = read_json(answer.content, _anything)
        except UnreadableJson:
            body = None
    challenge = answer.headers.get("www-authenticate", "")
    return Answer(answer.status_code, body, answer.content[:LARGEST_FILE], media_type, challenge)


def _judged(answer: Answer, service: ServiceName) -> Answer:
    """The answer, or its refusal in the portal's words."""
    if answer.status < 400 or answer.status in (409, 422):
        return answer
    if answer.status == 403:
        raise NotAllowed(service)
    if answer.status == 404:
        raise NotFound
    raise ServiceDown(service)


async def gathered(calls: Mapping[str, Any]) -> dict[str, Any]:
    """Run calls together; a service that is down, or a right one lacks, leaves its own name to `None`.

    One service away must not hide what the others say; a finished session or mandate concerns the whole page.
    """
    results = await asyncio.gather(*calls.values(), return_exceptions=True)
    found: dict[str, Any] = {}
    for name, result in zip(calls, results, strict=True):
        if isinstance(result, (ServiceDown, NotAllowed, NotFound)):
            found[name] = None
        elif isinstance(result, BaseException):
            raise result
        else:
            found[name] = result
    return found

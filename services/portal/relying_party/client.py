"""The portal as an OpenID Connect client: pushed requests, codes, refreshes, exchanges.

Every request carries a client assertion (RFC 7523, aud = the issuer alone) and a DPoP proof (RFC 9449), and is
sent again once when identity hands out a nonce. No token is ever logged.
"""

import base64
import hashlib
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode
from uuid import uuid4

import httpx
import msgspec
import structlog
from msgspec import Struct

from libs.common.access.dpop import dpop_proof
from libs.common.access.signatures import SigningKey, sign_compact
from libs.common.refusals import DomainError
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.foreign_json import UnreadableJson, read_json
from services.portal.refusals import MandateOver, NotAllowed, ServiceDown, SessionOver, SignInNotFinished
from services.portal.relying_party.provider import Provider, Providers

log = structlog.get_logger()
_anything: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Any)

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
TOKEN_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
MANDATE_TYPE: Final = "urn:espace:params:oauth:token-type:mandate"
ACCESS_TOKEN_TYPE: Final = "urn:ietf:params:oauth:token-type:access_token"


class RefusedByIdentity(DomainError):
    """Identity refused our own request; the message is its error code."""

    @property
    def code(self) -> str:
        return str(self)


SAYS_SO: Final[Mapping[str, Mapping[str, type[DomainError]]]] = {
    "authorization_code": {"invalid_grant": SignInNotFinished},
    "refresh_token": {"invalid_grant": SessionOver},
    TOKEN_EXCHANGE: {"invalid_grant": MandateOver, "invalid_scope": NotAllowed},
}
"""By grant, the only errors that speak of what the person holds (RFC 6749 §5.2).

Any other is about us: a key not known yet, a clock, a limit, a setting. It passes, and nobody is signed out for it.
"""


class Tokens(Struct, frozen=True):
    """What the token endpoint gave. Secrets: never logged, sealed at rest."""

    access_token: str
    expires_in: int
    token_type: str
    id_token: str | None = None
    refresh_token: str | None = None
    scope: str = ""


class AuthorizationRequest(Struct, frozen=True):
    """What the portal remembers while the person signs in; `state` comes back through the browser."""

    state: str
    nonce: str
    code_verifier: str
    dpop_pem: str

    @classmethod
    def new(cls) -> "AuthorizationRequest":
        draw = secrets.token_urlsafe
        return cls(
            state=draw(32), nonce=draw(32), code_verifier=draw(48), dpop_pem=SigningKey.generate().pem()
        )

    @property
    def code_challenge(self) -> str:
        """RFC 7636 §4.2, S256."""
        digest = hashlib.sha256(self.code_verifier.encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


class IdentityClient:
    """The portal's one conversation with the issuers. `clock` gives aware UTC instants."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        providers: Providers,
        *,
        client_id: str,
        key: SigningKey,
        portal_base: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._http = http
        self.providers = providers
        self.client_id = client_id
        self._key = key
        self._base = portal_base.rstrip("/")
        self._clock = clock
        self._nonces: dict[str, str] = {}

    def redirect_uri(self, caisse: CaisseSlug) -> str:
        return f"{self._base}/{caisse}/callback"

    async def push(
        self, caisse: CaisseSlug, request: AuthorizationRequest, *, scope: str, extra: Mapping[str, str]
    ) -> str:
        """Push the authorization request; the address to send the browser to (RFC 9126 §4)."""
        provider = await self.providers.of(caisse)
        form = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri(caisse),
            "scope": scope,
            "state": request.state,
            "nonce": request.nonce,
            "code_challenge": request.code_challenge,
            "code_challenge_method": "S256",
            **extra,
        }
        endpoint = provider.pushed_authorization_request_endpoint
        body = await self._post(provider, endpoint, form, SigningKey.from_pem(request.dpop_pem))
        handle = urlencode({"client_id": self.client_id, "request_uri": str(body["request_uri"])})
        return f"{provider.authorization_endpoint}?{handle}"

    async def redeem(self, caisse: CaisseSlug, request: AuthorizationRequest, code: str) -> Tokens:
        """The code for tokens bound to this session's key (RFC 6749 §4.1.3, RFC 7636 §4.5).

        Raises `SignInNotFinished`, `ServiceDown`.
        """
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_uri(caisse),
            "code_verifier": request.code_verifier,
            "resource": self.providers.issuer(caisse),
        }
        return await self._tokens(caisse, form, SigningKey.from_pem(request.dpop_pem))

    async def refresh(self, caisse: CaisseSlug, refresh_token: str, key: SigningKey, audience: str) -> Tokens:
        """A fresh access token for one audience (RFC 8707 §2.2). Raises `SessionOver`, `ServiceDown`."""
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token, "resource": audience}
        return await self._tokens(caisse, form, key)

    async def exchange(
        self, caisse: CaisseSlug, mandate: str, actor_token: str, key: SigningKey, audience: str, scope: str
    ) -> Tokens:
        """A delegated token on a mandate (RFC 8693; docs/explanation/delegation.md).

        Raises `MandateOver`, `NotAllowed` (the mandate holds no right there), `ServiceDown`.
        """
        form = {
            "grant_type": TOKEN_EXCHANGE,
            "subject_token": mandate,
            "subject_token_type": MANDATE_TYPE,
            "actor_token": actor_token,
            "actor_token_type": ACCESS_TOKEN_TYPE,
            "resource": audience,
            "scope": scope,
        }
        return await self._tokens(caisse, form, key)

    async def end_session_url(self, caisse: CaisseSlug, id_token: str) -> str:
        """Where the browser goes to sign out of identity too (RP-Initiated Logout §2)."""
        provider = await self.providers.of(caisse)
        query = {
            "id_token_hint": id_token,
            "client_id": self.client_id,
            "post_logout_redirect_uri": f"{self._base}/{caisse}/signed-out",
        }
        return f"{provider.end_session_endpoint}?{urlencode(query)}"

    async def _tokens(self, caisse: CaisseSlug, form: Mapping[str, str], key: SigningKey) -> Tokens:
        """Tokens, or what `SAYS_SO`; any other refusal is an outage of ours, which the log names."""
        provider = await self.providers.of(caisse)
        grant = form["grant_type"]
        try:
            tokens = msgspec.convert(await self._post(provider, provider.token_endpoint, form, key), Tokens)
            # RFC 9449 §5: a bearer token here would mean that our proof was ignored.
            if tokens.token_type.lower() != "dpop":
                raise RefusedByIdentity("token_type")
        except RefusedByIdentity as error:
            if (says := SAYS_SO[grant].get(error.code)) is not None:
                raise says(error.code) from error
            log.warning("identity.refuses_the_portal", grant=grant, error=error.code, caisse=caisse)
            raise ServiceDown("identity") from error
        except msgspec.ValidationError as error:
            log.warning("identity.refuses_the_portal", grant=grant, error="unreadable", caisse=caisse)
            raise ServiceDown("identity") from error
        return tokens

    async def _post(
        self, provider: Provider, endpoint: str, form: Mapping[str, str], key: SigningKey
    ) -> dict[str, Any]:
        answer = await self._send(provider, endpoint, form, key)
        if _wants_nonce(answer) and "dpop-nonce" in answer.headers:
            answer = await self._send(provider, endpoint, form, key)
        if answer.status_code >= 500:
            raise ServiceDown("identity")
        try:
            body = read_json(answer.content, _anything)
        except UnreadableJson as error:
            raise ServiceDown("identity") from error
        if answer.is_success and isinstance(body, dict):
            return body  # type: ignore[reportUnknownVariableType]
        code = str(body.get("error", "")) if isinstance(body, dict) else ""  # type: ignore[reportUnknownMemberType]
        log.info(
            "identity.refused", status=answer.status_code, error=code, grant=form.get("grant_type", "par")
        )
        raise RefusedByIdentity(code)

    async def _send(
        self, provider: Provider, endpoint: str, form: Mapping[str, str], key: SigningKey
    ) -> httpx.Response:
        sent = {
            **form,
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": self._assertion(provider),
        }
        sent.setdefault("client_id", self.client_id)
        proof = dpop_proof(key, "POST", endpoint, nonce=self._nonces.get(provider.issuer))
        try:
            answer = await self._http.post(endpoint, data=sent, headers={"DPoP": proof})
        except httpx.HTTPError as error:
            raise ServiceDown("identity") from error
        if nonce := answer.headers.get("dpop-nonce"):
            self._nonces[provider.issuer] = nonce
        return answer

    def _assertion(self, provider: Provider) -> str:
        """private_key_jwt; the audience is the issuer as one string (FAPI 2.0 §5.3.2.1)."""
        now = self._clock()
        claims = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": provider.issuer,
            "jti": str(uuid4()),
            "iat": int(now.timestamp()),
            "exp": int((now + timedelta(seconds=60)).timestamp()),
        }
        return sign_compact(self._key, {"typ": "JWT", "kid": self._key.kid}, claims)


def _wants_nonce(answer: httpx.Response) -> bool:
    """RFC 9449 §8 and §9: the server asks for its nonce."""
    if answer.status_code not in (400, 401):
        return False
    return b"use_dpop_nonce" in answer.content or "use_dpop_nonce" in answer.headers.get(
        "www-authenticate", ""
    )

"""How one of our programs calls an API: its own token, bound to its own key.

The portal uses the pieces (assertion, proof, `DpopAuth`) with its users' tokens;
a service uses `ServiceClient` with a token of its own (client credentials).
"""

import asyncio
import time
from collections.abc import Callable, Generator, Mapping
from typing import Any, Final
from uuid import uuid4

import httpx
import msgspec
import structlog
from msgspec import Struct

from libs.common.access.dpop import DpopKey, dpop_proof
from libs.common.access.signatures import SigningKey, sign_compact
from libs.common.refusals import Unavailable
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.foreign_json import UnreadableJson, read_json

__all__ = [
    "ASSERTION_TYPE",
    "ApiUnavailable",
    "DpopAuth",
    "DpopKey",
    "ServiceClient",
    "TokenRefused",
    "ask_issuer",
    "client_assertion",
    "dpop_proof",
    "oauth_error",
]

log = structlog.get_logger()

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
PATIENCE: Final = httpx.Timeout(2.0, connect=1.0)
RENEWED_BEFORE: Final = 30.0
"""Seconds before its end at which a token is asked for anew."""


class ApiUnavailable(Unavailable):
    """The API did not answer in time, or said that it cannot for now."""


class TokenRefused(Exception):
    """The issuer refuses our own client: a fault of ours, in keys or registration. Holds the OAuth error code."""


def client_assertion(
    key: SigningKey,
    client_id: str,
    issuer: str,
    *,
    lifetime: int = 60,
    clock: Callable[[], float] = time.time,
) -> str:
    """`private_key_jwt` (RFC 7523): `aud` is the issuer as one string, good once and for a minute."""
    now = int(clock())
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": issuer,
        "jti": str(uuid4()),
        "iat": now,
        "exp": now + lifetime,
    }
    return sign_compact(key, {"typ": "JWT", "kid": key.kid}, claims)


class DpopAuth(httpx.Auth):
    """Signs each request with a proof, and once more when the server asks for its nonce.

    With `access_token` the request carries it (`Authorization: DPoP`); without,
    only the proof (token and PAR endpoints). `nonces` may be shared by the
    requests of one key; it holds the last nonce of each origin.
    """

    def __init__(
        self,
        key: SigningKey,
        access_token: str | None = None,
        *,
        nonces: dict[str, str] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._key = key
        self._token = access_token
        self._nonces = {} if nonces is None else nonces
        self._clock = clock

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        origin = _origin(request)
        self._sign(request, origin)
        response = yield request
        known = self._nonces.get(origin)
        self._learn(response, origin)
        # RFC 9449 §9. Elsewhere than at an API the client assertion must change too: `ask_issuer`.
        wants_nonce = response.status_code == 401 and "use_dpop_nonce" in response.headers.get(
            "www-authenticate", ""
        )
        if wants_nonce and self._nonces.get(origin) != known:
            self._sign(request, origin)
            self._learn((yield request), origin)

    def _sign(self, request: httpx.Request, origin: str) -> None:
        request.headers["DPoP"] = dpop_proof(
            self._key,
            request.method,
            str(request.url),
            access_token=self._token,
            nonce=self._nonces.get(origin),
            clock=self._clock,
        )
        if self._token is not None:
            request.headers["Authorization"] = f"DPoP {self._token}"

    def _learn(self, response: httpx.Response, origin: str) -> None:
        nonce = response.headers.get("dpop-nonce")
        if nonce is not None:
            self._nonces[origin] = nonce


def _origin(request: httpx.Request) -> str:
    return f"{request.url.scheme}://{request.url.netloc.decode()}"


async def ask_issuer(
    http: httpx.AsyncClient,
    url: str,
    form: Mapping[str, str],
    *,
    issuer: str,
    client_id: str,
    key: SigningKey,
    dpop_key: SigningKey | None,
    nonces: dict[str, str] | None = None,
    clock: Callable[[], float] = time.time,
) -> httpx.Response:
    """POST a form to an endpoint of `issuer` as a confidential client: token, PAR, revocation, introspection.

    `key` signs the assertion, `dpop_key` (if any) the proof. When the issuer asks
    for a nonce, both are made anew: an assertion works once. Raises `ApiUnavailable`.
    """
    known = {} if nonces is None else nonces
    answer = await _asked(http, url, form, issuer, client_id, key, dpop_key, known, clock)
    if answer.status_code in (400, 401) and oauth_error(answer) == "use_dpop_nonce":
        answer = await _asked(http, url, form, issuer, client_id, key, dpop_key, known, clock)
    return answer


async def _asked(
    http: httpx.AsyncClient, url: str, form: Mapping[str, str], issuer: str, client_id: str, key: SigningKey,
    dpop_key: SigningKey | None, nonces: dict[str, str], clock: Callable[[], float],
) -> httpx.Response:  # fmt: skip
    assertion = client_assertion(key, client_id, issuer, clock=clock)
    identified = {
        **form,
        "client_id": client_id,
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": assertion,
    }
    auth = None if dpop_key is None else DpopAuth(dpop_key, nonces=nonces, clock=clock)
    return await _sent(http, "POST", url, data=identified, auth=auth)


async def _sent(http: httpx.AsyncClient, method: str, url: str, **options: Any) -> httpx.Response:
    options.setdefault("timeout", PATIENCE)
    try:
        answer = await http.request(method, url, follow_redirects=False, **options)
    except httpx.HTTPError as error:
        raise ApiUnavailable(url) from error
    if answer.status_code in (502, 503, 504):
        raise ApiUnavailable(url)
    return answer


class _Granted(Struct):
    access_token: str
    token_type: str
    expires_in: int


class _OAuthError(Struct):
    error: str = "unknown"


_granted = msgspec.json.Decoder(_Granted)
_oauth_errors = msgspec.json.Decoder(_OAuthError)


class _Held(Struct):
    access_token: str
    usable_until: float


class ServiceClient:
    """A service calling another in its own name, one token a caisse, resource and scope."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        *,
        issuer_base: str,
        client_id: str,
        key: SigningKey,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._http = http
        self._issuer_base = issuer_base
        self._client_id = client_id
        self._key = key
        self._clock = clock
        self._held: dict[tuple[CaisseSlug, str, str], _Held] = {}
        self._asking: dict[tuple[CaisseSlug, str, str], asyncio.Lock] = {}
        self._nonces: dict[str, str] = {}

    async def request(
        self,
        method: str,
        url: str,
        *,
        caisse: CaisseSlug,
        resource: str,
        scope: str,
        json: object = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        timeout: httpx.Timeout = PATIENCE,
    ) -> httpx.Response:
        """Call an API with a token of our own for `resource` (its audience).

        Any answer is returned as it is, but a 502, 503 or 504, which with a
        silence raises `ApiUnavailable`. A token refused as invalid is renewed once.
        """
        options = {"json": json, "headers": headers, "params": params, "timeout": timeout}
        answer = await self._called(method, url, (caisse, resource, scope), options)
        if answer.status_code == 401 and "invalid_token" in answer.headers.get("www-authenticate", ""):
            self._held.pop((caisse, resource, scope), None)
            answer = await self._called(method, url, (caisse, resource, scope), options)
        return answer

    async def _called(
        self, method: str, url: str, place: tuple[CaisseSlug, str, str], options: dict[str, Any]
    ) -> httpx.Response:
        token = await self._token(*place)
        auth = DpopAuth(self._key, token, nonces=self._nonces, clock=self._clock)
        return await _sent(self._http, method, url, auth=auth, **options)

    async def _token(self, caisse: CaisseSlug, resource: str, scope: str) -> str:
        place = (caisse, resource, scope)
        held = self._held.get(place)
        if held is not None and self._clock() < held.usable_until:
            return held.access_token
        async with self._asking.setdefault(place, asyncio.Lock()):
            held = self._held.get(place)
            if held is None or self._clock() >= held.usable_until:
                held = self._held[place] = await self._ask_for_token(caisse, resource, scope)
        return held.access_token

    async def _ask_for_token(self, caisse: CaisseSlug, resource: str, scope: str) -> _Held:
        issuer = f"{self._issuer_base}/{caisse}"
        answer = await ask_issuer(
            self._http,
            f"{issuer}/token",
            {"grant_type": "client_credentials", "resource": resource, "scope": scope},
            issuer=issuer,
            client_id=self._client_id,
            key=self._key,
            dpop_key=self._key,
            nonces=self._nonces,
            clock=self._clock,
        )
        if answer.status_code != 200:
            error = oauth_error(answer)
            log.error(
                "service_client.refused", client_id=self._client_id, error=error, status=answer.status_code
            )
            raise TokenRefused(error)
        try:
            granted = read_json(answer.content, _granted)
        except UnreadableJson as error:
            raise ApiUnavailable from error
        lifetime = max(0.0, granted.expires_in - RENEWED_BEFORE)
        return _Held(granted.access_token, self._clock() + lifetime)


def oauth_error(answer: httpx.Response) -> str:
    """The `error` of an OAuth refusal (RFC 6749 §5.2), or the status when the body says nothing."""
    try:
        return read_json(answer.content, _oauth_errors).error
    except UnreadableJson:
        return f"http_{answer.status_code}"

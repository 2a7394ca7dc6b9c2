"""Who may call: the one place that reads a route's `access=`.

`"anyone"` (public), `"session"` (a signed-in browser), `"protocol"` (OAuth
endpoints, which list their own checks), `"internal"` (health, metrics), or
`Scopes(…)`, for which the checks are, in order: one DPoP token, verified; one
proof by its key, never seen before; not revoked; the right; the authentication.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog
from litestar import Request, get
from litestar.connection import ASGIConnection
from litestar.exceptions import NotFoundException
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.params import FromPath
from litestar.types import Message, Scope

from libs.common.access.access_token import AccessToken, TokenVerifier
from libs.common.access.dpop import Nonces, verify_proof
from libs.common.access.introspection import Introspect
from libs.common.access.proof_memory import ReplayMemory
from libs.common.access.refusals import (
    DPOP_ALGORITHMS,
    AccessRefused,
    AmbiguousRequest,
    BeyondMandate,
    InsufficientAuthentication,
    InsufficientScope,
    InvalidProof,
    InvalidToken,
    NonceWanted,
    NotDelegable,
    NoToken,
    RevocationsUnknown,
)
from libs.common.access.revocations import Floors, Verdict
from libs.common.http.head import asked_method
from libs.common.http.problems import PROBLEMS, Problem
from libs.common.values.caisse_slug import CaisseSlug, InvalidCaisseSlug, parse_caisse_slug

log = structlog.get_logger()

PROBLEMS.update(
    {
        NoToken: Problem(401, "token-required", "Cette demande doit présenter un jeton d'accès."),
        AmbiguousRequest: Problem(400, "ambiguous-request", "Les en-têtes d'autorisation sont incorrects."),
        InvalidToken: Problem(401, "invalid-token", "Le jeton d'accès n'est pas ou plus valable."),
        InvalidProof: Problem(401, "invalid-proof", "La preuve de possession n'est pas valable."),
        NonceWanted: Problem(401, "nonce-wanted", "La preuve de possession doit reprendre le nonce donné."),
        InsufficientScope: Problem(403, "insufficient-scope", "Ce jeton ne donne pas ce droit."),
        BeyondMandate: Problem(
            403,
            "beyond-mandate",
            "Ce mandat est limité à certains établissements, et cet acte concerne toute l'entreprise.",
        ),
        NotDelegable: Problem(403, "not-delegable", "Cet acte ne se délègue pas."),
        InsufficientAuthentication: Problem(
            401, "step-up-required", "Cet acte demande une identification plus récente ou plus forte."
        ),
        RevocationsUnknown: Problem(
            503,
            "revocations-unknown",
            "Les délégations ne peuvent pas être vérifiées. Réessayez dans un instant.",
        ),
    }
)

ACR_ORDER: Final = ("pwd", "two_step", "mfa")
"""Authentication levels, weakest first."""

SPOKEN: Final = frozenset({"anyone", "session", "protocol", "internal"})


class Scopes:
    """`access=Scopes("a", "b")`: a token that holds any one of these rights.

    `delegable=False` bars cabinets. `acr` is the least authentication level,
    `max_age` the age that the person's authentication may have (RFC 9470).
    `services=False` bars tokens behind which nobody stands.
    """

    __slots__ = ("acr", "any_of", "delegable", "max_age", "services")

    def __init__(
        self, *any_of: str, delegable: bool = True, acr: str | None = None, max_age: timedelta | None = None,
        services: bool = True,
    ) -> None:  # fmt: skip
        self.any_of = any_of
        self.delegable = delegable
        self.acr = acr
        self.max_age = max_age
        self.services = services

    def __repr__(self) -> str:
        return f"Scopes({', '.join(map(repr, self.any_of))}, delegable={self.delegable})"


class TokenCheck:
    """Everything an API needs to believe a request; one for each process of a service.

    `public_base` is the service's address in the settings: proofs name it, never
    the Host header. `nonces=None` asks for no nonce.
    """

    def __init__(
        self,
        *,
        verifier: TokenVerifier,
        floors: Floors,
        memory: ReplayMemory,
        introspect: Introspect | None,
        public_base: str,
        nonces: Nonces | None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._verifier = verifier
        self._floors = floors
        self._memory = memory
        self._introspect = introspect
        self._base = public_base
        self._nonces = nonces
        self._clock = clock

    async def check(self, request: ASGIConnection[Any, Any, Any, Any], wanted: Scopes) -> AccessToken:
        """The caller's token. Raises an `AccessRefused` that carries its challenge, or `RevocationsUnknown`."""
        caisse = _caisse_of(request)
        try:
            unverified_token = _presented(request)
            token = await self._verifier.verify(unverified_token, caisse)
            await self._check_possession(request, token, unverified_token)
            await self._check_standing(token, unverified_token)
            _check_right(token, wanted)
            _check_authentication(token, wanted, self._clock())
        except AccessRefused as refusal:
            log.info("access.refused", reason=str(refusal), kind=type(refusal).__name__, caisse=caisse)
            raise refusal.challenge(
                resource_metadata=self._metadata_address(caisse),
                nonce=self._nonces.current(self._clock()) if self._nonces else None,
            ) from None
        if self._nonces is not None:
            request.scope["state"]["dpop_nonce"] = self._nonces.current(self._clock())
        return token

    async def _check_possession(
        self, request: ASGIConnection[Any, Any, Any, Any], token: AccessToken, unverified_token: str
    ) -> None:
        proof = verify_proof(
            request.headers.getall("dpop", []),
            method=asked_method(request.scope),
            url=self._base + request.scope["path"],
            now=self._clock(),
            access_token=unverified_token,
            jkt=token.jkt,
            nonces=self._nonces,
        )
        await self._memory.remember(token.caisse, proof)

    async def _check_standing(self, token: AccessToken, unverified_token: str) -> None:
        verdict = self._floors.judge(token)
        if verdict is Verdict.UNKNOWN and self._introspect is not None:
            # Ours is stale: the issuer itself, or nobody.
            verdict = await self._introspect(token.caisse, unverified_token)
        if verdict is Verdict.REVOKED:
            raise InvalidToken("revoked")
        if verdict is Verdict.UNKNOWN:
            raise RevocationsUnknown

    def _metadata_address(self, caisse: CaisseSlug) -> str:
        """RFC 9728 §3.1."""
        return f"{self._base}/.well-known/oauth-protected-resource/{caisse}"


SessionCheck = Callable[[ASGIConnection[Any, Any, Any, Any]], Awaitable[None]]
"""Raises unless the browser is signed in; the service says how."""

Guarding = Callable[[ASGIConnection[Any, Any, Any, Any], BaseRouteHandler], Awaitable[None]]


def guard_by_access(*, tokens: TokenCheck | None = None, session: SessionCheck | None = None) -> Guarding:
    """The guard of a service: what a route asks for and the service cannot check is refused."""

    async def guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        access = handler.opt.get("access")
        if isinstance(access, Scopes) and tokens is not None:
            connection.scope["state"]["access_token"] = await tokens.check(connection, access)
        elif access == "session" and session is not None:
            await session(connection)
        elif access not in SPOKEN - {"session"}:
            raise NotFoundException

    return guard


async def provide_token(request: Request[Any, Any, Any]) -> AccessToken:
    """The dependency `token`: what the guard believed. Only on routes with `access=Scopes(…)`."""
    token: AccessToken = request.scope["state"]["access_token"]
    return token


async def hand_out_nonce(message: Message, scope: Scope) -> None:
    """`before_send` hook: the nonce for the next proof goes with each answer (RFC 9449 §8.2)."""
    nonce = scope["state"].get("dpop_nonce") if "state" in scope else None
    if nonce is not None and message["type"] == "http.response.start":
        message["headers"] = [*message["headers"], (b"dpop-nonce", nonce.encode())]


def _caisse_of(request: ASGIConnection[Any, Any, Any, Any]) -> CaisseSlug:
    named = request.path_params.get("slug") or request.path_params.get("caisse") or ""
    try:
        return parse_caisse_slug(str(named))
    except InvalidCaisseSlug as error:
        raise NotFoundException from error


def _presented(request: ASGIConnection[Any, Any, Any, Any]) -> str:
    """The one DPoP token of the request; bearer tokens are good for nothing here."""
    headers = request.headers.getall("authorization", [])
    if not headers:
        raise NoToken
    if len(headers) > 1:
        raise AmbiguousRequest("two Authorization headers")
    scheme, _, unverified_token = headers[0].partition(" ")
    if scheme.lower() != "dpop":
        # RFC 9449 §7.2: a bound token without its proof would be a bearer token again.
        raise InvalidToken("not presented with DPoP")
    if not unverified_token or " " in unverified_token:
        raise AmbiguousRequest("Authorization")
    return unverified_token


def _check_right(token: AccessToken, wanted: Scopes) -> None:
    if token.is_delegated and not wanted.delegable:
        raise NotDelegable("not delegable")
    if token.is_service and not wanted.services:
        raise InsufficientScope("service")
    if not token.scopes.intersection(wanted.any_of):
        raise InsufficientScope("scope", scope=" ".join(wanted.any_of))


def _check_authentication(token: AccessToken, wanted: Scopes, now: datetime) -> None:
    """RFC 9470: say which level, and how fresh, so that the client can come back with it."""
    asked: dict[str, str] = {}
    if wanted.acr is not None and _level(token.acr) < _level(wanted.acr):
        asked["acr_values"] = " ".join(ACR_ORDER[_level(wanted.acr) :])
    if wanted.max_age is not None and (token.auth_time is None or now - token.auth_time > wanted.max_age):
        asked["max_age"] = str(int(wanted.max_age.total_seconds()))
    if asked:
        raise InsufficientAuthentication("step-up", **asked)


def _level(acr: str | None) -> int:
    return ACR_ORDER.index(acr) if acr in ACR_ORDER else -1


def resource_metadata(
    *, issuer_base: str, audience_base: str, name: str, scopes: list[str]
) -> HTTPRouteHandler:
    """RFC 9728: where clients learn which issuer, rights and proofs an API of ours wants."""

    @get("/.well-known/oauth-protected-resource/{slug:str}", access="anyone")
    async def protected_resource(slug: FromPath[str]) -> dict[str, Any]:
        """Metadata of this resource server for one caisse (RFC 9728)."""
        caisse = parse_caisse_slug(slug)
        return {
            "resource": f"{audience_base}/{caisse}",
            "resource_name": name,
            "authorization_servers": [f"{issuer_base}/{caisse}"],
            "scopes_supported": sorted(scopes),
            "bearer_methods_supported": ["header"],
            "dpop_bound_access_tokens_required": True,
            "dpop_signing_alg_values_supported": list(DPOP_ALGORITHMS),
            "authorization_details_types_supported": ["mandate"],
        }

    return protected_resource

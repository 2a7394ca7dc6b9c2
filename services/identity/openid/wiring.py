"""From a Litestar request to what the pipelines read, and from their answers back."""

from typing import Any

from litestar import Request, Response

from libs.common.http import csrf
from libs.common.refusals import NotFound
from libs.common.values.caisse_slug import parse_caisse_slug
from services.identity.openid.authorize import Visit
from services.identity.openid.client_authentication import credentials_of
from services.identity.openid.dpop_binding import ProofHeaders
from services.identity.openid.issuer import Issuer
from services.identity.openid.kernel import Answer, Asked
from services.identity.openid.provider import Provider
from services.identity.openid.wire import Parameters, parse_encoded, parse_form
from services.identity.sign_in.session import cookie_name

AnyRequest = Request[Any, Any, Any]


async def issuer_of(provider: Provider, slug: str) -> Issuer:
    """Raises `InvalidCaisseSlug` or `NotFound`: one answer."""
    issuer = await provider.issuer(parse_caisse_slug(slug))
    if issuer.keys.is_empty:
        raise NotFound
    return issuer


async def posted(request: AnyRequest) -> Parameters:
    """The strict form of a back-channel request."""
    return parse_form(request.headers.get("content-type", ""), await request.body())


def queried(request: AnyRequest) -> Parameters:
    return parse_encoded(request.scope["query_string"])


def proof_headers(request: AnyRequest, issuer: Issuer, path: str) -> ProofHeaders:
    """The proof must name our public address, whatever Host the request carries."""
    return ProofHeaders(request.headers.getall("dpop", []), request.method, issuer.endpoint(path))


async def asked(request: AnyRequest, issuer: Issuer, path: str) -> Asked:
    """Raises a `Refusal`: two methods of authentication, a doubled parameter, no client at all."""
    parameters = await posted(request)
    credentials = credentials_of(parameters, request.headers.get("authorization"))
    return Asked(parameters, credentials, proof_headers(request, issuer, path))


def visit(request: AnyRequest, issuer: Issuer) -> Visit:
    return Visit(request.cookies.get(cookie_name(issuer.caisse)), csrf.browser_of(request))


READABLE_ANYWHERE = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "DPoP-Nonce, WWW-Authenticate",
}
"""Browser apps call these endpoints with fetch; no cookie counts here, so any origin may. Never on authorize."""


def as_response(answer: Answer) -> Response[Any]:
    headers = answer.headers | READABLE_ANYWHERE
    return Response(answer.body, status_code=answer.status, headers=headers, media_type=answer.media_type)


def preflight() -> Response[None]:
    """The browser's question before a fetch with a DPoP header (Fetch §4.8)."""
    allowed = {
        "Access-Control-Allow-Methods": "GET, POST",
        "Access-Control-Allow-Headers": "Authorization, Content-Type, DPoP",
        "Access-Control-Max-Age": "600",
    }
    return Response(None, status_code=204, headers=READABLE_ANYWHERE | allowed)

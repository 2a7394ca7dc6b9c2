"""The endpoints of an issuer that programs call. What people see is in `page_routes.py`."""

from typing import Any

from litestar import Request, Response, get, post, route
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from libs.common.http import csrf
from libs.common.http.application import Clock
from libs.common.http.problems import PROBLEMS, Problem
from libs.common.refusals import NotFound
from libs.common.values.caisse_slug import parse_caisse_slug
from services.identity.openid import discovery
from services.identity.openid.authorize import Visit
from services.identity.openid.client_authentication import credentials_of
from services.identity.openid.dpop_binding import ProofHeaders
from services.identity.openid.introspection import answer_introspection
from services.identity.openid.issuer import Issuer
from services.identity.openid.kernel import Answer, Asked, refusal_answer
from services.identity.openid.par import answer_par
from services.identity.openid.provider import Provider
from services.identity.openid.refusals import Refusal
from services.identity.openid.register import ClientAlreadyThere
from services.identity.openid.registration import answer_management, answer_register
from services.identity.openid.revocation import answer_revocation
from services.identity.openid.token import answer_token
from services.identity.openid.userinfo import Presented, answer_userinfo, challenge, token_of
from services.identity.openid.wire import FORM, Parameters, parse_encoded, parse_form
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


PROBLEMS[ClientAlreadyThere] = Problem(409, "client-already-there", "Un client porte déjà cet identifiant.")

PUBLIC = {"Cache-Control": "public, max-age=60", "Access-Control-Allow-Origin": "*"}
"""Documents anybody may read from any page (openid.md line 22: no CORS on authorize)."""


def on_refusal(_: AnyRequest, error: Refusal) -> Response[Any]:
    """What the strict parser refuses, before any client is known."""
    return as_response(refusal_answer(error))


# The documents ask Litestar for the request alone: each dependency would be one more task of the event loop.


@get("/.well-known/openid-configuration", access="protocol")
async def openid_configuration(request: AnyRequest) -> ASGIResponse:
    """OpenID Connect Discovery §4."""
    return await _discovery(request)


@get("/.well-known/oauth-authorization-server/{slug:str}", access="protocol")
async def oauth_authorization_server(request: AnyRequest) -> ASGIResponse:
    """RFC 8414 §3: the well-known segment before the path."""
    return await _discovery(request)


async def _discovery(request: AnyRequest) -> ASGIResponse:
    provider: Provider = request.app.state.provider
    issuer = await issuer_of(provider, request.path_params["slug"])
    body = provider.published_once(issuer, discovery.document)
    return ASGIResponse(body=body, media_type="application/json", headers=PUBLIC)


@get("/jwks", access="protocol")
async def jwks(request: AnyRequest) -> ASGIResponse:
    """RFC 7517 §5."""
    issuer = await issuer_of(request.app.state.provider, request.path_params["slug"])
    return ASGIResponse(body=issuer.keys.jwks, media_type="application/jwk-set+json", headers=PUBLIC)


@post("/token", access="protocol", status_code=200)
async def token(
    request: AnyRequest,
    slug: FromPath[str],
    provider: NamedDependency[Provider],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """RFC 6749 §3.2."""
    issuer = await issuer_of(provider, slug)
    return as_response(await answer_token(provider, issuer, await asked(request, issuer, "/token"), clock()))


@post("/par", access="protocol", status_code=201)
async def par(
    request: AnyRequest,
    slug: FromPath[str],
    provider: NamedDependency[Provider],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """RFC 9126 §2."""
    issuer = await issuer_of(provider, slug)
    return as_response(await answer_par(provider, issuer, await asked(request, issuer, "/par"), clock()))


@post("/introspect", access="protocol", status_code=200)
async def introspect(
    request: AnyRequest,
    slug: FromPath[str],
    provider: NamedDependency[Provider],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """RFC 7662 §2, RFC 9701."""
    issuer = await issuer_of(provider, slug)
    accept = request.headers.get("accept", "")
    question = await asked(request, issuer, "/introspect")
    return as_response(await answer_introspection(provider, issuer, question, accept, clock()))


@post("/revoke", access="protocol", status_code=200)
async def revoke(
    request: AnyRequest,
    slug: FromPath[str],
    provider: NamedDependency[Provider],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """RFC 7009 §2."""
    issuer = await issuer_of(provider, slug)
    return as_response(
        await answer_revocation(provider, issuer, await asked(request, issuer, "/revoke"), clock())
    )


@route("/userinfo", http_method=["GET", "POST"], access="protocol", status_code=200)
async def userinfo(
    request: AnyRequest,
    slug: FromPath[str],
    provider: NamedDependency[Provider],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """OpenID Connect Core §5.3.1: GET and POST, token in the header or in a posted form."""
    issuer = await issuer_of(provider, slug)
    in_form = None
    if request.method == "POST" and request.headers.get("content-type", "").startswith(FORM):
        in_form = (await posted(request)).get("access_token")
    try:
        presented = token_of(request.headers.get("authorization"), in_form)
    except Presented as refusal:
        return as_response(challenge(refusal))
    proof = proof_headers(request, issuer, "/userinfo")
    return as_response(await answer_userinfo(provider, issuer, presented, proof, clock()))


@post("/register", access="protocol", status_code=201)
async def register(
    request: AnyRequest,
    slug: FromPath[str],
    provider: NamedDependency[Provider],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """RFC 7591 §3."""
    issuer = await issuer_of(provider, slug)
    authorization, body = request.headers.get("authorization"), await request.body()
    return as_response(await answer_register(provider, issuer, authorization, body, clock()))


@route("/register/{client_id:str}", http_method=["GET", "PUT", "DELETE"], access="protocol", status_code=200)
async def manage_registration(
    request: AnyRequest,
    slug: FromPath[str],
    client_id: FromPath[str],
    provider: NamedDependency[Provider],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """RFC 7592 §2."""
    issuer = await issuer_of(provider, slug)
    authorization, body = request.headers.get("authorization"), await request.body()
    answer = await answer_management(
        provider, issuer, client_id, authorization, request.method, body, clock()
    )
    return as_response(answer)


@route(
    ["/token", "/par", "/revoke", "/userinfo"], http_method=["OPTIONS"], access="protocol", status_code=204
)
async def ask_first(slug: FromPath[str]) -> Response[None]:
    """What a browser asks before it lets an app call these endpoints."""
    return preflight()


ROUTES = [
    ask_first,  # before the others: Litestar would answer OPTIONS by itself
    openid_configuration,
    jwks,
    token,
    par,
    introspect,
    revoke,
    userinfo,
    register,
    manage_registration,
]
"""Under `/{caisse}`."""

ROOT_ROUTES = [oauth_authorization_server]

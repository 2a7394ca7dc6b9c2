"""The endpoints of an issuer that programs call. What people see is in `page_routes.py`."""

from typing import Any

from litestar import Response, get, post, route
from litestar.di import NamedDependency
from litestar.params import FromPath

from libs.common.http.application import Clock
from services.identity.openid import discovery
from services.identity.openid.introspection import answer_introspection
from services.identity.openid.kernel import refusal_answer
from services.identity.openid.par import answer_par
from services.identity.openid.provider import Provider
from services.identity.openid.refusals import Refusal
from services.identity.openid.registration import answer_management, answer_register
from services.identity.openid.revocation import answer_revocation
from services.identity.openid.token import answer_token
from services.identity.openid.userinfo import Presented, answer_userinfo, challenge, token_of
from services.identity.openid.wire import FORM
from services.identity.openid.wiring import (
    AnyRequest,
    as_response,
    asked,
    issuer_of,
    posted,
    preflight,
    proof_headers,
)

PUBLIC = {"Cache-Control": "public, max-age=60", "Access-Control-Allow-Origin": "*"}
"""Documents anybody may read from any page (openid.md line 22: no CORS on authorize)."""


def on_refusal(_: AnyRequest, error: Refusal) -> Response[Any]:
    """What the strict parser refuses, before any client is known."""
    return as_response(refusal_answer(error))


@get("/.well-known/openid-configuration", access="protocol")
async def openid_configuration(slug: FromPath[str], provider: NamedDependency[Provider]) -> Response[bytes]:
    """OpenID Connect Discovery §4."""
    issuer = await issuer_of(provider, slug)
    return Response(discovery.document(issuer), media_type="application/json", headers=PUBLIC)


@get("/.well-known/oauth-authorization-server/{slug:str}", access="protocol")
async def oauth_authorization_server(slug: FromPath[str], provider: NamedDependency[Provider]) -> Response[bytes]:
    """RFC 8414 §3: the well-known segment before the path."""
    issuer = await issuer_of(provider, slug)
    return Response(discovery.document(issuer), media_type="application/json", headers=PUBLIC)


@get("/jwks", access="protocol")
async def jwks(slug: FromPath[str], provider: NamedDependency[Provider]) -> Response[bytes]:
    """RFC 7517 §5."""
    issuer = await issuer_of(provider, slug)
    return Response(issuer.keys.jwks, media_type="application/jwk-set+json", headers=PUBLIC)


@post("/token", access="protocol", status_code=200)
async def token(
    request: AnyRequest, slug: FromPath[str], provider: NamedDependency[Provider], clock: NamedDependency[Clock]
) -> Response[Any]:
    """RFC 6749 §3.2."""
    issuer = await issuer_of(provider, slug)
    return as_response(await answer_token(provider, issuer, await asked(request, issuer, "/token"), clock()))


@post("/par", access="protocol", status_code=201)
async def par(
    request: AnyRequest, slug: FromPath[str], provider: NamedDependency[Provider], clock: NamedDependency[Clock]
) -> Response[Any]:
    """RFC 9126 §2."""
    issuer = await issuer_of(provider, slug)
    return as_response(await answer_par(provider, issuer, await asked(request, issuer, "/par"), clock()))


@post("/introspect", access="protocol", status_code=200)
async def introspect(
    request: AnyRequest, slug: FromPath[str], provider: NamedDependency[Provider], clock: NamedDependency[Clock]
) -> Response[Any]:
    """RFC 7662 §2, RFC 9701."""
    issuer = await issuer_of(provider, slug)
    accept = request.headers.get("accept", "")
    question = await asked(request, issuer, "/introspect")
    return as_response(await answer_introspection(provider, issuer, question, accept, clock()))


@post("/revoke", access="protocol", status_code=200)
async def revoke(
    request: AnyRequest, slug: FromPath[str], provider: NamedDependency[Provider], clock: NamedDependency[Clock]
) -> Response[Any]:
    """RFC 7009 §2."""
    issuer = await issuer_of(provider, slug)
    return as_response(await answer_revocation(provider, issuer, await asked(request, issuer, "/revoke"), clock()))


@route("/userinfo", http_method=["GET", "POST"], access="protocol", status_code=200)
async def userinfo(
    request: AnyRequest, slug: FromPath[str], provider: NamedDependency[Provider], clock: NamedDependency[Clock]
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
    request: AnyRequest, slug: FromPath[str], provider: NamedDependency[Provider], clock: NamedDependency[Clock]
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


@route(["/token", "/par", "/revoke", "/userinfo"], http_method=["OPTIONS"], access="protocol", status_code=204)
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

"""Registration, the addresses of RFC 8414 and RFC 9728, and what every route of an issuer reads of its request.

The endpoints that programs call all day are in `program_endpoints.py`.
"""

from typing import Any

from litestar import Request, Response, get, post, route
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from libs.common.http import csrf
from libs.common.http.application import Clock
from libs.common.http.problems import PROBLEMS, Problem
from services.identity.openid import discovery
from services.identity.openid.answers import Answer, refusal_answer
from services.identity.openid.dynamic_registration import answer_management, answer_register
from services.identity.openid.issuer import Issuer
from services.identity.openid.proceed import Visit
from services.identity.openid.program_endpoints import issuer_of
from services.identity.openid.provider import Provider
from services.identity.openid.refusals import Refusal
from services.identity.openid.wire import Parameters, parse_encoded, parse_form
from services.identity.openid.write_client import ClientAlreadyThere
from services.identity.sign_in.session import cookie_name
from services.identity.site.routes import network_seen

AnyRequest = Request[Any, Any, Any]


async def posted(request: AnyRequest) -> Parameters:
    """A posted form, read strictly."""
    return parse_form(request.headers.get("content-type", ""), await request.body())


def queried(request: AnyRequest) -> Parameters:
    return parse_encoded(request.scope["query_string"])


def visit(request: AnyRequest, issuer: Issuer) -> Visit:
    return Visit(request.cookies.get(cookie_name(issuer.caisse)), csrf.browser_of(request))


READABLE_ANYWHERE = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "WWW-Authenticate"}
"""A browser app may register itself; no cookie counts here."""

PUBLIC = {"Cache-Control": "public, max-age=60", "Access-Control-Allow-Origin": "*"}


def as_response(answer: Answer) -> Response[Any]:
    headers = answer.headers | READABLE_ANYWHERE
    return Response(answer.body, status_code=answer.status, headers=headers, media_type=answer.media_type)


PROBLEMS[ClientAlreadyThere] = Problem(409, "client-already-there", "Un client porte déjà cet identifiant.")


def on_refusal(_: AnyRequest, error: Refusal) -> Response[Any]:
    """What the strict parser refuses."""
    return as_response(refusal_answer(error))


@get("/.well-known/oauth-authorization-server/{slug:str}", access="protocol")
async def oauth_authorization_server(
    slug: FromPath[str], provider: NamedDependency[Provider]
) -> ASGIResponse:
    """RFC 8414 §3: the well-known segment before the path."""
    body = provider.published_once(await issuer_of(provider, slug), discovery.document)
    return ASGIResponse(body=body, media_type="application/json", headers=PUBLIC)


@get("/.well-known/oauth-protected-resource/{slug:str}", access="protocol")
async def oauth_protected_resource(
    slug: FromPath[str], provider: NamedDependency[Provider]
) -> Response[dict[str, Any]]:
    """RFC 9728 §3: the issuer is a resource server too, as its own metadata say."""
    return Response(discovery.resource_metadata(await issuer_of(provider, slug)), headers=PUBLIC)


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
    return as_response(
        await answer_register(provider, issuer, authorization, body, network_seen(request), clock())
    )


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
        provider, issuer, client_id, authorization, request.method, body, network_seen(request), clock()
    )
    return as_response(answer)


@route("/register", http_method=["OPTIONS"], access="protocol", status_code=204)
async def ask_before_registering(slug: FromPath[str]) -> Response[None]:
    """What a browser asks before an app's first request of RFC 7591 §3 (Fetch §4.8)."""
    return _ask_first("POST")


@route("/register/{client_id:str}", http_method=["OPTIONS"], access="protocol", status_code=204)
async def ask_before_managing(slug: FromPath[str], client_id: FromPath[str]) -> Response[None]:
    """The same of RFC 7592 §2; whoever the client is, the answer is one."""
    return _ask_first("GET, PUT, DELETE")


def _ask_first(methods: str) -> Response[None]:
    allowed = {
        "Access-Control-Allow-Methods": methods,
        "Access-Control-Allow-Headers": "Authorization, Content-Type",
        "Access-Control-Max-Age": "600",
    }
    return Response(None, status_code=204, headers=READABLE_ANYWHERE | allowed)


ROUTES = [ask_before_registering, ask_before_managing, register, manage_registration]
"""Under `/{caisse}`. The framework answers OPTIONS itself for a path whose first handler does not."""

ROOT_ROUTES = [oauth_authorization_server, oauth_protected_resource]

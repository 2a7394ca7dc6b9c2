"""Registration of clients by themselves, and its management (RFC 7591, RFC 7592)."""

from typing import Any

from litestar import Response, post, route
from litestar.di import NamedDependency
from litestar.params import FromPath

from libs.common.http.application import Clock
from services.identity.openid.answers import Answer
from services.identity.openid.program_endpoints import issuer_of
from services.identity.openid.provider import Provider
from services.identity.openid.registration.dynamic import answer_management, answer_register
from services.identity.site.routes import AnyRequest, network_seen

READABLE_ANYWHERE = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "WWW-Authenticate"}
"""A browser app may register itself; no cookie counts here."""


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


def as_response(answer: Answer) -> Response[Any]:
    headers = answer.headers | READABLE_ANYWHERE
    return Response(answer.body, status_code=answer.status, headers=headers, media_type=answer.media_type)


ROUTES = [ask_before_registering, ask_before_managing, register, manage_registration]
"""Under `/{caisse}`. The framework answers OPTIONS itself for a path whose first handler does not."""

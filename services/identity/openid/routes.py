"""What an issuer says of itself at the addresses of RFC 8414 and RFC 9728, outside its own."""

from typing import Any

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from services.identity.openid import discovery
from services.identity.openid.program_endpoints import issuer_of
from services.identity.openid.provider import Provider

PUBLIC = {"Cache-Control": "public, max-age=60", "Access-Control-Allow-Origin": "*"}
"""Documents anybody may read from any page."""


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


ROUTES = [oauth_authorization_server, oauth_protected_resource]
"""At the root."""

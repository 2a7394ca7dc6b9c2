"""What a page of an issuer reads of its request: the strict parameters, and who is in front of the screen."""

from libs.common.http import csrf
from services.identity.openid.issuer import Issuer
from services.identity.openid.proceed import Visit
from services.identity.openid.wire import Parameters, parse_encoded, parse_form
from services.identity.sign_in.session import cookie_name
from services.identity.site.routes import AnyRequest


async def posted(request: AnyRequest) -> Parameters:
    """A posted form, read strictly. Raises `InvalidRequest`."""
    return parse_form(request.headers.get("content-type", ""), await request.body())


def queried(request: AnyRequest) -> Parameters:
    """The query, read strictly. Raises `InvalidRequest`."""
    return parse_encoded(request.scope["query_string"])


def visit(request: AnyRequest, issuer: Issuer) -> Visit:
    """By the caisse's session cookie, and the name that this browser goes by."""
    return Visit(request.cookies.get(cookie_name(issuer.caisse)), csrf.browser_of(request))

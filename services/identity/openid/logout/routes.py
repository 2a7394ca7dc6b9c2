"""The end-session endpoint and its confirmation (OpenID Connect RP-Initiated Logout 1.0)."""

from typing import Any
from urllib.parse import urlencode

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Redirect

from libs.common.http.application import Clock
from libs.common.http.forms import Form, read_form
from libs.common.http.security_headers import allow_form_action
from libs.common.pages.environment import speak
from services.identity.openid.browser_request import posted, queried
from services.identity.openid.flow import origin_of
from services.identity.openid.flow_pages.routes import error_page
from services.identity.openid.logout import end_session
from services.identity.openid.logout.end_session import LogoutRequest
from services.identity.openid.program_endpoints import issuer_of
from services.identity.openid.provider import Provider
from services.identity.openid.refusals import Refusal
from services.identity.openid.wire import Parameters, parameters_of
from services.identity.sign_in import session as sign_in
from services.identity.sign_in.session import Session, cookie_name, current_session
from services.identity.site.routes import AnyRequest, Site, drop_cookie

ASKED = "asked"
"""A handle of ours for what was posted."""

CARRIED = ("client_id", "post_logout_redirect_uri", "state", "ui_locales", "id_token_hint", ASKED)
"""What the confirmation page carries on, checked anew when it comes back."""


@get("/end-session", access="protocol")
async def end_session_asked(
    request: AnyRequest,
    slug: FromPath[str],
    site: NamedDependency[Site],
    provider: NamedDependency[Provider],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """§2: with a hint that proves the session, out at once; else the person confirms (logout CSRF)."""
    try:
        return await _leave(request, slug, site, provider, clock, queried(request), confirmed=False)
    except Refusal as error:
        return await _error(request, site, provider, clock, error)


@post("/end-session", access="protocol", status_code=303)
async def end_session_posted(
    request: AnyRequest,
    slug: FromPath[str],
    site: NamedDependency[Site],
    provider: NamedDependency[Provider],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """§2 asks for POST too. A form from elsewhere comes without our cookies: ask again by GET, under a handle."""
    issuer = await issuer_of(provider, slug)
    address = issuer.endpoint("/end-session")
    try:
        parameters = await posted(request)
        speak(request.scope, parameters.get("ui_locales"))
        asked = end_session.read(parameters, issuer)
        if asked == end_session.UncheckedLogout():
            return Redirect(address, status_code=303)
        handle = await end_session.keep(provider, issuer, asked, clock())
    except Refusal as error:
        return await _error(request, site, provider, clock, error)
    return Redirect(f"{address}?{urlencode({ASKED: handle})}", status_code=303)


@post("/end-session/confirm", access="anyone", status_code=303)
async def end_session_confirmed(
    request: AnyRequest,
    slug: FromPath[str],
    site: NamedDependency[Site],
    provider: NamedDependency[Provider],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """The button, pressed in this browser."""
    form = await read_form(request)
    if form.text("choice") != "leave":
        return Redirect(site.home, status_code=303)
    try:
        return await _leave(request, slug, site, provider, clock, _carried(form), confirmed=True)
    except Refusal as error:
        return await _error(request, site, provider, clock, error)


async def _error(
    request: AnyRequest, site: Site, provider: Provider, clock: Clock, error: Refusal
) -> Response[Any]:
    """Whoever is still signed in is told so, with the way out; nobody else is told that they are."""
    now = clock()
    async with provider.db.transaction(site.slug) as tx:
        session = await current_session(tx, request.cookies.get(cookie_name(site.slug)), now)
    return error_page(request, site, error, now, "misconfigured" if session is None else "sign_out")


async def _leave(
    request: AnyRequest,
    slug: str,
    site: Site,
    provider: Provider,
    clock: Clock,
    parameters: Parameters,
    *,
    confirmed: bool,
) -> Response[Any]:
    issuer = await issuer_of(provider, slug)
    now = clock()
    async with provider.db.transaction(issuer.caisse) as tx:
        session = await current_session(tx, request.cookies.get(cookie_name(issuer.caisse)), now)
        handle = parameters.get(ASKED)
        said = (
            end_session.read(parameters, issuer)
            if handle is None
            else await end_session.recall(tx, handle, now)
        )
        speak(request.scope, said.ui_locales)
        asked = await end_session.check(tx, provider, issuer, said, session)
        if session is not None and not (confirmed or asked.is_proven):
            return _confirmation(request, site, parameters, asked, session)
        if session is not None:
            # The clients of the session hear of it from the queue (backchannel.py).
            await sign_in.end_session(tx, session.id, now=now)
    response = _goodbye(request, site, asked, may_leave=confirmed or asked.is_proven or session is None)
    drop_cookie(response, cookie_name(issuer.caisse))
    return response


def _confirmation(
    request: AnyRequest, site: Site, parameters: Parameters, asked: LogoutRequest, session: Session
) -> Response[Any]:
    if asked.return_to is not None:
        allow_form_action(request.scope, origin_of(asked.return_to))
    carried = [(name, parameters.values[name]) for name in CARRIED if name in parameters.values]
    client_name = asked.client.metadata.client_name if asked.client else ""
    return site.page(
        request,
        "confirm_logout.html",
        carried=carried,
        account=session.shown_as,
        client_name=client_name,
    )


def _goodbye(request: AnyRequest, site: Site, asked: LogoutRequest, *, may_leave: bool) -> Response[Any]:
    """§3: back to the client only at an address it registered; `state` goes with it."""
    if asked.return_to is None or not may_leave:
        return site.page(request, "signed_out.html")
    separator = "&" if "?" in asked.return_to else "?"
    state = f"{separator}{urlencode({'state': asked.state})}" if asked.state else ""
    return Redirect(asked.return_to + state, status_code=303)


def _carried(form: Form) -> Parameters:
    return parameters_of((name, form.text(name)) for name in CARRIED)


ROUTES = [end_session_asked, end_session_posted, end_session_confirmed]
"""Under `/{caisse}`."""

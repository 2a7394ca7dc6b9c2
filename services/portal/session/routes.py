"""Signing in and out: the addresses a browser and identity come to."""

from typing import Any

from litestar import Request, Response, get, post
from litestar.datastructures import Cookie
from litestar.di import NamedDependency
from litestar.params import FromQuery
from litestar.response import Redirect

from libs.common.http.csrf import browser_of
from libs.common.http.forms import read_form
from libs.common.pages.environment import language_of
from libs.common.values.caisse_slug import CaisseSlug
from services.portal.calls.challenge import wanted
from services.portal.portal import Portal
from services.portal.refusals import SignInNotFinished, SignInRefused
from services.portal.session.session import LIFE, cookie_name
from services.portal.session.sign_in import begin_sign_in, checked_return, finish_sign_in
from services.portal.session.sign_out import hear_logout, sign_out

SEE_OTHER = 303

NAME_CLAIMS = '{"id_token":{"name":null,"email":null}}'
"""OpenID Connect Core §5.5: the ID token names the person, so that no further request is needed."""


@get("/{caisse:str}/sign-in", access="anyone")
async def begin(
    request: Request[Any, Any, Any],
    caisse_slug: NamedDependency[CaisseSlug],
    portal: NamedDependency[Portal],
    to: FromQuery[str | None] = None,
    prompt: FromQuery[str | None] = None,
    acr_values: FromQuery[str | None] = None,
    max_age: FromQuery[str | None] = None,
) -> Redirect:
    """The person pressed "Espace sécurisé Entreprise", or a page asked who they are, or for more (RFC 9470 §4)."""
    # A caisse that is none is a stranger's word: identity is not asked about each.
    await portal.brands.of(caisse_slug)
    extra = {"claims": NAME_CLAIMS, "ui_locales": language_of(request)}
    extra |= wanted({"acr_values": acr_values or "", "max_age": max_age or ""})
    if prompt in ("login", "select_account"):
        extra["prompt"] = prompt
    address = await begin_sign_in(
        portal.db,
        portal.identity,
        portal.keys,
        caisse_slug,
        browser=browser_of(request),
        return_to=checked_return(caisse_slug, to),
        extra=extra,
        now=portal.clock(),
    )
    return Redirect(address, status_code=SEE_OTHER)


@get("/{caisse:str}/callback", access="anyone")
async def callback(
    request: Request[Any, Any, Any],
    caisse_slug: NamedDependency[CaisseSlug],
    portal: NamedDependency[Portal],
) -> Response[Any]:
    """Identity sent the person back with a code."""
    answer = {name: value for name, value in request.query_params.items() if isinstance(value, str)}
    try:
        cookie, path = await finish_sign_in(
            portal.db,
            portal.identity,
            portal.issuer_keys,
            portal.keys,
            caisse_slug,
            answer,
            browser=browser_of(request),
            former=request.cookies.get(cookie_name(caisse_slug)),
            now=portal.clock(),
        )
    except SignInNotFinished:
        # The back button after a sign-in that went well: the session is there, so show it.
        if await portal.session(caisse_slug, request.cookies.get(cookie_name(caisse_slug))):
            return Redirect(f"/{caisse_slug}", status_code=SEE_OTHER)
        raise
    except SignInRefused as refused:
        if refused.code == "access_denied":
            return Redirect(f"/{caisse_slug}", status_code=SEE_OTHER)
        raise
    redirect = Redirect(path, status_code=SEE_OTHER)
    redirect.set_cookie(_cookie(caisse_slug, cookie, int(LIFE.total_seconds())))
    return redirect


@get("/{caisse:str}/sign-out", access="anyone")
async def ask_sign_out(
    request: Request[Any, Any, Any],
    caisse_slug: NamedDependency[CaisseSlug],
    portal: NamedDependency[Portal],
) -> Response[Any]:
    """A page with the button: a link alone never signs anybody out. Leaving waits for nobody else to be there."""
    brand = await portal.brands.if_told(caisse_slug)
    return portal.pages.render("session/sign_out.html", request, brand=brand, caisse=caisse_slug)


@post("/{caisse:str}/sign-out", access="anyone")
async def leave(
    request: Request[Any, Any, Any],
    caisse_slug: NamedDependency[CaisseSlug],
    portal: NamedDependency[Portal],
) -> Redirect:
    """The button was pressed: the session ends here, then at identity."""
    address: str | None = None
    session = await portal.session(caisse_slug, request.cookies.get(cookie_name(caisse_slug)))
    if session is not None:
        address = await sign_out(portal.db, portal.identity, session)
    # Nobody to name to identity, or no way there: what it holds open may still be.
    redirect = Redirect(address or f"/{caisse_slug}/signed-out?only=here", status_code=SEE_OTHER)
    redirect.set_cookie(_cookie(caisse_slug, "", 0))
    return redirect


@get("/{caisse:str}/signed-out", access="anyone")
async def signed_out(
    request: Request[Any, Any, Any],
    caisse_slug: NamedDependency[CaisseSlug],
    portal: NamedDependency[Portal],
    only: FromQuery[str | None] = None,
) -> Response[Any]:
    """Where identity leads back after signing out. Whoever is signed in reads no goodbye."""
    if await portal.session(caisse_slug, request.cookies.get(cookie_name(caisse_slug))):
        return Redirect(f"/{caisse_slug}", status_code=SEE_OTHER)
    return portal.pages.render(
        "session/signed_out.html",
        request,
        brand=await portal.brands.if_told(caisse_slug),
        caisse=caisse_slug,
        account_base=portal.account_base,
        is_here_only=only == "here",
    )


@post("/{caisse:str}/backchannel-logout", access="protocol", status_code=200)
async def backchannel_logout(
    request: Request[Any, Any, Any],
    caisse_slug: NamedDependency[CaisseSlug],
    portal: NamedDependency[Portal],
) -> Response[None]:
    """Identity tells that a session is over; the token it signed is the only proof asked."""
    form = await read_form(request)
    await hear_logout(
        portal.db,
        portal.issuer_keys,
        portal.identity,
        caisse_slug,
        form.text("logout_token"),
        now=portal.clock(),
    )
    # Back-Channel Logout 1.0 §2.8: 200, and not kept by any cache.
    return Response(None, headers={"Cache-Control": "no-store"})


def _cookie(caisse: CaisseSlug, value: str, max_age: int) -> Cookie:
    return Cookie(
        cookie_name(caisse),
        value=value,
        path="/",
        max_age=max_age,
        secure=True,
        httponly=True,
        samesite="lax",
    )


session_routes = [begin, callback, ask_sign_out, leave, signed_out, backchannel_logout]

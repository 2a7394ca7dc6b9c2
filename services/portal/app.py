"""The portal: every route and every means of its pages, wired on one page."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import httpx
from litestar import Litestar, Request, Response
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath
from litestar.response import Redirect

from libs.common.access.issuer_keys import IssuerKeys
from libs.common.access.signatures import SigningKey
from libs.common.database.pool import Database
from libs.common.http.application import Clock, build_application, utc_now
from libs.common.http.problems import PROBLEMS, Problem
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.keys.root_key import open_key_encryption
from libs.common.pages.environment import Pages
from libs.common.pages.routes import static_routes
from libs.common.runtime.settings import Settings
from libs.common.values.caisse_slug import CaisseSlug, InvalidCaisseSlug, parse_caisse_slug
from services.portal.caisses.brands import Brands
from services.portal.caisses.routes import caisse_routes
from services.portal.calls.services import Services
from services.portal.clients.routes import client_routes
from services.portal.home.routes import home_routes
from services.portal.portal import Portal
from services.portal.refusals import (
    MandateOver,
    NotAllowed,
    ServiceDown,
    SessionOver,
    SignInNotFinished,
    SignInRefused,
    SignInWanted,
    StepUpWanted,
)
from services.portal.relying_party.client import IdentityClient, RefusedByIdentity
from services.portal.relying_party.id_token import InvalidIdToken
from services.portal.relying_party.provider import Providers
from services.portal.relying_party.registration import CLIENT_ID
from services.portal.session.routes import session_routes
from services.portal.session.session import Session, cookie_name
from services.portal.session.tokens import SessionTokens

TEMPLATES = Path(__file__).parent / "pages" / "templates"

PROBLEMS[SignInWanted] = Problem(401, "sign-in-wanted", "Connectez-vous pour continuer.")
PROBLEMS[SessionOver] = Problem(401, "session-over", "Votre connexion a pris fin.")
PROBLEMS[StepUpWanted] = Problem(403, "step-up-wanted", "Confirmez que c’est bien vous.")
PROBLEMS[SignInNotFinished] = Problem(400, "sign-in-not-finished", "La connexion n’a pas abouti.")
PROBLEMS[SignInRefused] = Problem(400, "sign-in-refused", "La connexion n’a pas abouti.")
PROBLEMS[RefusedByIdentity] = Problem(
    503, "identity-refused", "Le service de connexion ne répond pas pour l’instant."
)
PROBLEMS[InvalidIdToken] = Problem(400, "invalid-token", "Ce jeton n’est pas recevable.")
PROBLEMS[ServiceDown] = Problem(503, "service-down", "Ce service ne répond pas pour l’instant.")
PROBLEMS[MandateOver] = Problem(403, "mandate-over", "Vous ne pouvez plus agir pour cette entreprise.")
PROBLEMS[NotAllowed] = Problem(403, "not-allowed", "Vous n’avez pas ce droit d’accès.")


KEYS_BELIEVED: Final = 0.4
"""Seconds. The portal hears no revocations, as no client does: it asks for the keys again, so that a revoked one is
refused within a second (identity publishes it for half of one at most).
"""


def create_app(
    settings: Settings, *, clock: Clock = utc_now, http: httpx.AsyncClient | None = None
) -> Litestar:
    """The application; it connects when its lifespan begins. `http` replaces the way out in tests."""
    settings.require(
        "portal.base", "portal.dsn", "portal.client_key", "identity.base", "adherent.base", "documents.base"
    )
    keys = open_key_encryption(settings)
    pages = Pages(TEMPLATES, site=settings.portal.base)

    @asynccontextmanager
    async def opened(app: Litestar) -> AsyncIterator[None]:
        db = await Database.open(settings.portal.dsn, name="espace portal")
        out = http or way_out(settings)
        app.state.portal = wired(settings, keys, pages, db, out, clock)
        try:
            yield
        finally:
            if http is None:
                await out.aclose()
            await db.close()

    async def database_answers() -> bool:
        portal: Portal = app.state.portal
        return await portal.db.answers()

    app = build_application(
        [*static_routes(), *caisse_routes, *session_routes, *client_routes, *home_routes],
        name="portal",
        base=settings.portal.base,
        allowed_hosts=settings.allowed_hosts,
        keys=keys,
        guards=[],
        dependencies={
            "caisse_slug": Provide(provide_caisse),
            "portal": Provide(provide_portal),
            "session": Provide(provide_session),
        },
        lifespan=[opened],
        readiness={"database": database_answers},
        problem_page=problem_page,
        # A sign-out form ends at identity, after a redirect.
        form_actions=[origin_of(settings.identity.base)],
        clock=clock,
        signature_types=[Portal, Session],
    )
    return app


def way_out(settings: Settings) -> httpx.AsyncClient:
    """Calls to our own services: short waits, no redirects, our own authority if there is one."""
    verify: ssl.SSLContext | bool = True
    if settings.trusted_ca is not None:
        verify = ssl.create_default_context(cafile=str(settings.trusted_ca))
    return httpx.AsyncClient(timeout=httpx.Timeout(8.0, connect=2.0), verify=verify, trust_env=False)


def wired(
    settings: Settings, keys: KeyEncryption, pages: Pages, db: Database, http: httpx.AsyncClient, clock: Clock
) -> Portal:
    """The means of the pages, each made once."""
    identity = IdentityClient(
        http,
        Providers(http, settings.identity.base),
        client_id=CLIENT_ID,
        key=SigningKey.from_pem(settings.portal.client_key),
        portal_base=settings.portal.base,
        clock=clock,
    )
    return Portal(
        db=db,
        keys=keys,
        http=http,
        issuer_keys=IssuerKeys(http, settings.identity.base.rstrip("/"), believed=KEYS_BELIEVED),
        identity=identity,
        services=Services(http, SessionTokens(db, identity, keys), settings, clock=clock),
        brands=Brands(http, settings.identity.base),
        pages=pages,
        clock=clock,
        account_base=settings.identity.base.rstrip("/"),
        verification_base=settings.documents.base.rstrip("/"),
    )


async def provide_portal(request: Request[Any, Any, Any]) -> Portal:
    return request.app.state.portal


async def provide_caisse(caisse: FromPath[str]) -> CaisseSlug:
    """The caisse of the address. Raises `InvalidCaisseSlug`, told as a page that does not exist."""
    return parse_caisse_slug(caisse)


async def provide_session(
    request: Request[Any, Any, Any],
    portal: NamedDependency[Portal],
    caisse_slug: NamedDependency[CaisseSlug],
) -> Session:
    """The session a page needs. Raises `SignInWanted`, answered by the way to sign in and back."""
    session = await portal.session(caisse_slug, request.cookies.get(cookie_name(caisse_slug)))
    if session is None:
        raise SignInWanted("no session")
    return session


def problem_page(request: Request[Any, Any, Any], problem: Problem) -> Response[Any]:
    """A refusal for a person: the sign-in page, or what happened and the way out, in the caisse's colours."""
    portal: Portal = request.app.state.portal
    caisse = str(request.path_params.get("caisse", ""))
    if problem.slug == "sign-in-wanted":
        return Redirect(way_to_sign_in(request, caisse), status_code=303)
    return portal.pages.render(
        "session/step_up.html" if problem.slug == "step-up-wanted" else "problem.html",
        request,
        brand=portal.brands.at_hand(caisse),
        status_code=problem.status,
        problem=problem,
        way=way_to_sign_in(request, caisse, **problem.members) if problem.slug == "step-up-wanted" else "",
        was_posted=request.method == "POST",
        way_out="" if problem.status == 401 else way_to_leave(request, caisse),
    )


def way_to_leave(request: Request[Any, Any, Any], caisse: str) -> str:
    """For whom the browser says to be signed in: a page of an outage asks nothing of the database. Else empty."""
    try:
        held = request.cookies.get(cookie_name(parse_caisse_slug(caisse)))
    except InvalidCaisseSlug:
        return ""
    return f"/{caisse}/sign-out" if held else ""


def way_to_sign_in(request: Request[Any, Any, Any], caisse: str, **asked: str) -> str:
    """Through identity and back to this page. A form comes back to the page that holds it, which its address follows:
    what was posted is kept nowhere, and is decided anew.
    """
    page = request.url.path if request.method == "GET" else request.url.path.rpartition("/")[0]
    query = f"?{request.url.query}" if request.method == "GET" and request.url.query else ""
    return f"/{caisse}/sign-in?{urlencode({'to': page + query, **asked}, safe='/')}"


def origin_of(address: str) -> str:
    return "{0.scheme}://{0.netloc}".format(urlsplit(address))

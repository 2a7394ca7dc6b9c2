"""Identity: every route and dependency, wired on one page."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import httpx
from litestar import Litestar, Request, Router
from litestar.di import Provide

from libs.common.access.guard import hand_out_nonce, provide_token
from libs.common.access.resource_server import ResourceServer
from libs.common.database.pool import Database
from libs.common.http.application import Clock, build_application, utc_now
from libs.common.http.client_address import proxy_networks
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.keys.root_key import open_key_encryption
from libs.common.pages.brand import Brand, brand_of
from libs.common.pages.environment import Pages
from libs.common.pages.routes import static_routes
from libs.common.runtime.settings import Settings
from libs.common.values.caisse_slug import CaisseSlug
from services.identity.account import routes as account
from services.identity.admin import routes as admin
from services.identity.cabinets import routes as cabinets
from services.identity.caisses import store as caisses
from services.identity.caisses.caisse import Caisse
from services.identity.delegation import routes as delegation
from services.identity.delegation.api import routes as delegation_api
from services.identity.delegation.notices import Notices
from services.identity.delegation.one_mandate import routes as one_mandate
from services.identity.first_connection import routes as first_connection
from services.identity.first_connection.confirmation import routes as confirmation
from services.identity.floors import routes as floors
from services.identity.floors.acknowledged import Questions
from services.identity.letters.paper_secret import PaperSecrets
from services.identity.mail.enqueue import Mail
from services.identity.names import routes as names
from services.identity.openid import browser_endpoint, program_endpoints
from services.identity.openid import routes as openid
from services.identity.openid.flow_pages import routes as openid_pages
from services.identity.openid.guarded_fetcher import GuardedFetcher
from services.identity.openid.logos import routes as logos
from services.identity.openid.logout import routes as logout
from services.identity.openid.provider import Provider
from services.identity.openid.registration import routes as registration
from services.identity.sign_in import routes as sign_in
from services.identity.sign_in.forgotten_password import routes as forgotten_password
from services.identity.sign_in.password import Passwords
from services.identity.sign_in.prove_again import StepUpRequired
from services.identity.sign_in.refused import write_what_is_owed
from services.identity.sign_in.session import Session, SignInRequired
from services.identity.sign_in.step_up import routes as step_up
from services.identity.site.routes import (
    Site,
    provide_brand,
    provide_caisse,
    provide_session,
    provide_site,
    require_session,
    to_sign_in,
    to_step_up,
)

HERE = Path(__file__).parent

FEATURES_WITH_PAGES = ("sign_in", "first_connection", "account", "openid", "delegation", "cabinets")
TEMPLATES = [HERE / feature / "pages" for feature in FEATURES_WITH_PAGES]
"""A template's name is unique over all of them."""

PAGES = [
    *sign_in.ROUTES,
    *step_up.ROUTES,
    *forgotten_password.ROUTES,
    *first_connection.ROUTES,
    *confirmation.ROUTES,
    *account.ROUTES,
    *openid_pages.ROUTES,
    *logos.ROUTES,
    *logout.ROUTES,
    *delegation.ROUTES,
    *one_mandate.ROUTES,
    *cabinets.ROUTES,
]
"""What people see, under `/{caisse}`."""


def create_app(
    settings: Settings, *, clock: Clock = utc_now, http: httpx.AsyncClient | None = None
) -> Litestar:
    """The identity service. Its database opens with its lifespan; NATS is not needed to serve.

    `http` replaces the way out to our own addresses in tests.
    """
    settings.require("identity.base", "identity.dsn", "portal.base")
    keys = open_key_encryption(settings)
    passwords = Passwords()
    paper = PaperSecrets(keys)
    pages = Pages(TEMPLATES, site=settings.portal.base)

    def reread(caisse: CaisseSlug) -> None:
        app.state.provider.rings.forget(caisse)

    access = ResourceServer(
        settings, "identity", keys, session=require_session, http=http, key_revoked=reread, clock=clock
    )

    @asynccontextmanager
    async def opened(app: Litestar) -> AsyncGenerator[None, None]:
        with closing(passwords), closing(paper):
            async with _database_of(settings) as db:
                app.state.db = db
                app.state.provider = Provider(db, settings, keys, GuardedFetcher.of(settings))
                async with db.across_caisses() as tx:
                    for caisse in await caisses.every(tx):
                        pages.know(brand_of(caisse))
                async with access.opened(db):
                    yield

    async def database_answers() -> bool:
        return await app.state.db.answers()

    app = build_application(
        routes(),
        name="identity",
        base=settings.identity.base,
        allowed_hosts=settings.allowed_hosts,
        keys=keys,
        guards=[access.guard],
        dependencies={
            **PROVIDED,
            **_of_this_process(settings, keys),
            **_made_once(passwords=passwords, paper=paper, pages=pages, questions=Questions(access)),
        },
        before_send=[hand_out_nonce],
        lifespan=[opened],
        readiness={"database": database_answers, "revocations": access.is_ready},
        problem_page=pages.problem_page,
        # A sign-in ends, after redirects, at the client; the portal is always one.
        form_actions=[settings.portal.base],
        clock=clock,
        state={"proxies": proxy_networks(settings.trusted_proxies)},
        signature_types=TYPES,
        thin=[*program_endpoints.ENDPOINTS, *browser_endpoint.ENDPOINTS],
    )
    return app


def routes() -> list[Any]:
    """Every address of the service, each feature's own beside the refusals it answers by a redirect."""
    return [
        *static_routes(),
        Router(
            "/{slug:str}",
            route_handlers=PAGES,
            exception_handlers={SignInRequired: to_sign_in, StepUpRequired: to_step_up},
        ),
        Router("/{slug:str}", route_handlers=[*delegation_api.ROUTES, *admin.ROUTES]),
        *names.ROUTES,
        *floors.ROUTES,
        *openid.ROUTES,
        Router("/{slug:str}", route_handlers=registration.ROUTES),
    ]


@asynccontextmanager
async def _database_of(settings: Settings) -> AsyncGenerator[Database, None]:
    """Open while we serve; what is owed to the journal is written before it closes."""
    db = await Database.open(settings.identity.dsn, name="espace identity", keeps_plans=True)
    try:
        yield db
    finally:
        try:
            await write_what_is_owed(db)
        finally:
            await db.close()


def _of_this_process(settings: Settings, keys: KeyEncryption) -> dict[str, Provide]:
    mail = Mail(keys)
    return _made_once(settings=settings, keys=keys, mail=mail, notices=Notices(mail, settings.identity.base))


def _made_once(**dependencies: object) -> dict[str, Provide]:
    return {name: _always(value) for name, value in dependencies.items()}


def _always(value: object) -> Provide:
    """A dependency made once with the application."""

    async def provide() -> Any:
        return value

    return Provide(provide)


async def _database(request: Request[Any, Any, Any]) -> Database:
    db: Database = request.app.state.db
    return db


async def _provider(request: Request[Any, Any, Any]) -> Provider:
    provider: Provider = request.app.state.provider
    return provider


PROVIDED: dict[str, Provide] = {
    "db": Provide(_database),
    "provider": Provide(_provider),
    "caisse": Provide(provide_caisse),
    "brand": Provide(provide_brand),
    "site": Provide(provide_site),
    "session": Provide(provide_session),
    "token": Provide(provide_token),
}
"""What each request finds for itself."""

TYPES = [
    Brand,
    Caisse,
    Database,
    KeyEncryption,
    Mail,
    Notices,
    Pages,
    PaperSecrets,
    Passwords,
    Provider,
    Questions,
    Session,
    Settings,
    Site,
]
"""What the handlers' annotations name."""

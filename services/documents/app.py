"""Documents: every route and dependency, wired on one page."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from litestar import Litestar
from litestar.datastructures import State
from litestar.di import Provide

from libs.common.access.guard import hand_out_nonce, provide_token
from libs.common.access.resource_server import ResourceServer, way_out
from libs.common.access.service_client import ServiceClient
from libs.common.access.signatures import SigningKey
from libs.common.database.pool import Database
from libs.common.http.application import Clock, build_application, utc_now
from libs.common.http.client_address import proxy_networks
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.keys.root_key import open_key_encryption
from libs.common.pages.environment import Pages
from libs.common.pages.routes import static_routes
from libs.common.runtime.settings import Settings, SettingsRefused
from services.documents.acts.routes import acts
from services.documents.attestations.ask_adherent import AskAdherent
from services.documents.attestations.eligibility import Eligibility
from services.documents.attestations.files import Files
from services.documents.attestations.issue import Workshop
from services.documents.attestations.permission import READ, REQUEST, AdherentId, AttestationId
from services.documents.attestations.press import Press
from services.documents.attestations.routes import (
    attestation_file,
    list_attestations,
    provide_adherent_id,
    provide_attestation_id,
    request_attestation,
)
from services.documents.seals.routes import authority_certificate, revoked_seals
from services.documents.verification.check_file import Line
from services.documents.verification.routes import (
    answer_of_qr_code,
    check_code,
    check_file,
    provide_caisse_slug,
    show_verification,
)

PAGES = Path(__file__).parent / "verification" / "pages"


def routes(guarded: ResourceServer) -> list[Any]:
    """Every address of the service."""
    return [
        *static_routes(),
        guarded.metadata(name="Documents : attestations", scopes=[READ, REQUEST]),
        # Under a token: the firm and its cabinets.
        request_attestation,
        list_attestations,
        attestation_file,
        acts,
        # Public: whoever holds a paper.
        show_verification,
        check_code,
        check_file,
        answer_of_qr_code,
        authority_certificate,
        revoked_seals,
    ]


async def provide_shop(state: State) -> Workshop:
    return state.shop


async def provide_eligibility(state: State) -> Eligibility:
    return state.eligibility


async def provide_line(state: State) -> Line:
    return state.line


def create_app(
    settings: Settings,
    *,
    clock: Clock = utc_now,
    access: ResourceServer | None = None,
    eligibility: Eligibility | None = None,
) -> Litestar:
    """The documents service. Its database opens with its lifespan; NATS is not needed to serve."""
    keys = open_key_encryption(settings)
    guarded = access or ResourceServer(settings, "documents", keys, clock=clock)
    pages = Pages(PAGES, site=settings.portal.base)

    @asynccontextmanager
    async def opened(app: Litestar) -> AsyncGenerator[None, None]:
        async with open_workshop(settings, keys) as shop, way_out(settings) as http:
            app.state.shop = shop
            app.state.eligibility = eligibility or ask_adherent(settings, http)
            async with guarded.opened(shop.db):
                yield

    async def provide_pages() -> Pages:
        return pages

    async def database_answers() -> bool:
        return await app.state.shop.db.answers()

    app = build_application(
        routes(guarded),
        name="documents",
        base=settings.documents.base,
        allowed_hosts=settings.allowed_hosts,
        keys=keys,
        guards=[guarded.guard],
        dependencies={
            "shop": Provide(provide_shop),
            "eligibility": Provide(provide_eligibility),
            "pages": Provide(provide_pages),
            "token": Provide(provide_token),
            "adherent_id": Provide(provide_adherent_id),
            "attestation_id": Provide(provide_attestation_id),
            "caisse_slug": Provide(provide_caisse_slug),
            "line": Provide(provide_line),
        },
        lifespan=[opened],
        readiness={"database": database_answers, "revocations": guarded.is_ready},
        problem_page=pages.problem_page,
        before_send=[hand_out_nonce],
        clock=clock,
        state={"proxies": proxy_networks(settings.trusted_proxies), "line": Line()},
        signature_types=[AdherentId, AttestationId],
    )
    return app


@asynccontextmanager
async def open_workshop(settings: Settings, keys: KeyEncryption) -> AsyncGenerator[Workshop, None]:
    """What making a paper takes, for the app and for the worker. Raises `SettingsRefused`."""
    if settings.files is None:
        raise SettingsRefused(
            "Il manque à la configuration : files (ESPACE_FILES), le dossier des documents chiffrés."
        )
    db = await Database.open(settings.documents.dsn, name="documents")
    press = Press()
    try:
        yield Workshop(db, keys, Files.in_folder(settings.files, keys), press, settings.documents.base)
    finally:
        press.close()
        await db.close()


def ask_adherent(settings: Settings, http: httpx.AsyncClient) -> AskAdherent:
    """Eligibility over HTTP; without a key of our own it is unavailable, never guessed."""
    pem = settings.documents.client_key
    client = (
        ServiceClient(
            http, issuer_base=settings.identity.base, client_id="documents", key=SigningKey.from_pem(pem)
        )
        if pem
        else None
    )
    return AskAdherent(client, settings.adherent.base)

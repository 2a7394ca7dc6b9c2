"""Adherent: every route and dependency, wired on one page."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from litestar import Litestar
from litestar.di import Provide

from libs.common.access.guard import hand_out_nonce, provide_token
from libs.common.access.resource_server import ResourceServer
from libs.common.database.pool import Database
from libs.common.http.application import Clock, build_application, utc_now
from libs.common.keys.root_key import open_key_encryption
from libs.common.runtime.settings import Settings
from services.adherent.acts.routes import acts
from services.adherent.contributions.routes import statements
from services.adherent.member_file.routes import member_file, provide_adherent_id
from services.adherent.permission import FILE_SCOPES, STANDING_SCOPES, STATEMENT_SCOPES, AdherentId
from services.adherent.standing.routes import standing


def create_app(
    settings: Settings, *, clock: Clock = utc_now, access: ResourceServer | None = None
) -> Litestar:
    """The adherent service. Its database opens with its lifespan; NATS is not needed to serve."""
    keys = open_key_encryption(settings)
    guarded = access or ResourceServer(settings, "adherent", keys, clock=clock)

    @asynccontextmanager
    async def opened(app: Litestar) -> AsyncGenerator[None, None]:
        db = await Database.open(settings.adherent.dsn, name="adherent")
        app.state.db = db
        try:
            async with guarded.opened(db):
                yield
        finally:
            await db.close()

    async def provide_db() -> Database:
        return app.state.db

    async def database_answers() -> bool:
        return await app.state.db.answers()

    app = build_application(
        [
            guarded.metadata(
                name="Adhérents : dossier, situation, paiements",
                scopes=sorted({*FILE_SCOPES, *STANDING_SCOPES, *STATEMENT_SCOPES}),
            ),
            member_file,
            standing,
            statements,
            acts,
        ],
        name="adherent",
        base=settings.adherent.base,
        allowed_hosts=settings.allowed_hosts,
        keys=keys,
        guards=[guarded.guard],
        dependencies={
            "db": Provide(provide_db),
            "token": Provide(provide_token),
            "adherent_id": Provide(provide_adherent_id),
        },
        lifespan=[opened],
        readiness={"database": database_answers, "revocations": guarded.is_ready},
        before_send=[hand_out_nonce],
        clock=clock,
        signature_types=[AdherentId],
    )
    return app

"""The administration API of a caisse: its settings, its other parts, and the document that describes them all.

Machine clients of the caisse call it (client credentials, audience = the issuer,
DPoP), with the same use cases as the command line.
"""

import functools
from typing import Any

import msgspec
from litestar import Litestar, Response, Router, get
from litestar.di import NamedDependency, Provide
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.spec import Components, Server, Tag

from libs.common.access.guard import Scopes
from libs.common.http.documented import DPOP, DPOP_SCHEME, needs, refusals
from libs.common.runtime.settings import Settings
from services.identity.admin.clients import routes as clients
from services.identity.admin.keys import routes as keys
from services.identity.admin.machine_clients import routes as machine_clients
from services.identity.admin.sessions import routes as sessions
from services.identity.caisses.caisse import Caisse, CaisseSettings
from services.identity.letters import routes as letters

VERSION = "1.0"


class CaisseShown(msgspec.Struct, frozen=True, kw_only=True):
    """The caisse as it presents itself, and what it decided."""

    slug: str
    name: str
    network_number: str
    siren: str
    address: list[str]
    phone: str
    email: str
    website: str
    mail_from: str
    settings: CaisseSettings


@get(
    "/admin/caisse",
    access=Scopes("caisse.read", delegable=False),
    security=needs("caisse.read"),
    responses=refusals(),
    tags=["caisse"],
)
async def show_caisse(caisse: NamedDependency[Caisse]) -> CaisseShown:
    """The caisse's own description and settings."""
    return CaisseShown(
        slug=caisse.slug,
        name=caisse.name,
        network_number=caisse.network_number,
        siren=caisse.siren,
        address=caisse.address,
        phone=caisse.phone,
        email=caisse.email,
        website=caisse.website,
        mail_from=caisse.mail_from,
        settings=caisse.settings,
    )


@get("/admin/openapi.json", access="anyone", include_in_schema=False)
async def show_document(
    caisse: NamedDependency[Caisse], settings: NamedDependency[Settings]
) -> Response[bytes]:
    """The OpenAPI 3.1 document of this caisse's administration API, made from the handlers themselves."""
    document = dict(described())
    document["servers"] = [{"url": f"{settings.identity.base}/{caisse.slug}"}]
    return Response(
        msgspec.json.encode(document),
        media_type="application/json",
        headers={"Cache-Control": "public, max-age=300"},
    )


HANDLERS = [
    show_caisse,
    *clients.ROUTES,
    *machine_clients.ROUTES,
    *keys.ROUTES,
    *sessions.ROUTES,
    *letters.ROUTES,
]

ROUTES = [show_document, Router("/", route_handlers=HANDLERS, response_headers={"Cache-Control": "no-store"})]


@functools.cache
def described() -> dict[str, Any]:
    """The document, `servers` apart: the same handlers, mounted where nothing is served."""
    mounted = Litestar(
        [Router("/", route_handlers=HANDLERS, response_headers={"Cache-Control": "no-store"})],
        dependencies={name: _never() for name in HANDED},
        openapi_config=OpenAPIConfig(
            title="Espace – administration d'une caisse",
            version=VERSION,
            description="For the programs of a caisse; the command line `espace` does the same.",
            servers=[Server(url="/")],
            components=Components(security_schemes={DPOP: DPOP_SCHEME}),
            tags=[Tag(name) for name in ("caisse", "clients", "keys", "letters", "machines", "sessions")],
            use_handler_docstrings=True,
            render_plugins=[],
        ),
        logging_config=None,
    )
    document = mounted.openapi_schema.to_schema()
    # Litestar 2.25 does not say that a body takes no other member; msgspec, which reads the bodies, does.
    bodies = [field.annotation for one in HANDLERS if (field := one.parsed_data_field) is not None]
    for name, exact in msgspec.json.schema_components(bodies)[1].items():
        if exact.get("additionalProperties") is False:
            document["components"]["schemas"][name]["additionalProperties"] = False
    return document


HANDED = ("caisse", "clock", "db", "keys", "paper", "provider", "questions", "settings", "token")
"""What the application hands to these handlers: none of it is in the request, nor in the document."""


def _never() -> Provide:
    async def provide() -> None:
        return

    return Provide(provide)

"""Names behind public ids: services record who acted, and only identity knows what they are called."""

from typing import Any
from uuid import UUID

from litestar import Request, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from libs.common.access.access_token import AccessToken
from libs.common.access.guard import Scopes
from libs.common.database.pool import Database
from libs.common.refusals import NotFound
from libs.common.values.caisse_slug import parse_caisse_slug
from libs.common.values.identifiers import InvalidPublicId, parse_public_id, public_id
from services.identity.caisses import store as caisses
from services.identity.names import store

MOST_IDS = 200


@get("/api/caisses", access="anyone")
async def list_caisses(db: NamedDependency[Database]) -> dict[str, Any]:
    """The caisses of this installation, as they present themselves to the public."""
    async with db.across_caisses() as tx:
        every = await caisses.every(tx)
    return {
        "caisses": [
            {
                "slug": one.slug,
                "name": one.name,
                "phone": one.phone,
                "email": one.email,
                "website": one.website,
                "colour": one.settings.colour,
            }
            for one in every
        ]
    }


@get(
    "/{slug:str}/api/adherents/{adherent:str}/names",
    access=Scopes("openid", "mandate.manage", delegable=False, services=False),
)
async def names_of_those_who_acted(
    request: Request[Any, Any, Any],
    slug: FromPath[str],
    adherent: FromPath[str],
    token: NamedDependency[AccessToken],
    db: NamedDependency[Database],
) -> dict[str, dict[str, str]]:
    """`?ids=per_…,cab_…,mch_…` to names, for the firm's own people; an id that never acted for it has none."""
    adherent_id = parse_public_id("adh", adherent)
    asked = request.query_params.get("ids", "").split(",")[:MOST_IDS]
    people, cabinets, machines = (_ids(prefix, asked) for prefix in ("per", "cab", "mch"))
    async with db.transaction(parse_caisse_slug(slug)) as tx:
        if token.person_id is None or not await store.belongs_to(tx, token.person_id, adherent_id):
            raise NotFound
        named = [
            (public_id("per", key), name)
            for key, name in await store.people_who_acted(tx, adherent_id, people)
        ]
        named += [
            (public_id("cab", key), name)
            for key, name in await store.cabinets_that_acted(tx, adherent_id, cabinets)
        ]
        named += [
            (public_id("mch", key), name)
            for key, name in await store.machines_that_acted(tx, adherent_id, machines)
        ]
    return {"names": dict(named)}


def _ids(prefix: str, asked: list[str]) -> list[UUID]:
    """The well-formed ids of one kind; anything else names nobody."""
    found: list[UUID] = []
    for text in asked:
        try:
            found.append(parse_public_id(prefix, text))
        except InvalidPublicId:
            continue
    return found


ROUTES = [list_caisses, names_of_those_who_acted]

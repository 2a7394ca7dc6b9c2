"""The member file, read by the firm or by a cabinet it mandated."""

from typing import Any

import msgspec
from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath

from libs.common.access.access_token import AccessToken
from libs.common.access.guard import Scopes
from libs.common.database.pool import Database
from libs.common.http.application import Clock
from libs.common.refusals import NotFound
from libs.common.values.identifiers import parse_public_id, public_id
from services.adherent.acts.journal_reads import note_delegated_read
from services.adherent.member_file import store
from services.adherent.permission import FILE_SCOPES, AdherentId, may_read_file


async def provide_adherent_id(adherent: FromPath[str]) -> AdherentId:
    """The dependency `adherent_id`. Raises `InvalidPublicId`, which answers like an unknown firm."""
    return AdherentId(parse_public_id("adh", adherent))


@get("/{caisse:str}/adherents/{adherent:str}", access=Scopes(*FILE_SCOPES))
async def member_file(
    adherent_id: NamedDependency[AdherentId],
    token: NamedDependency[AccessToken],
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
) -> dict[str, Any]:
    """The firm and the establishments that the caller may see."""
    by = may_read_file(token, adherent_id)
    async with db.transaction(by.caisse) as tx:
        member = await store.find_member(tx, by.adherent_id)
        if member is None:
            raise NotFound
        sites = await store.establishments_of(tx, by.adherent_id)
        await note_delegated_read(tx, token, "member_file.read", by.adherent_id, now=clock())
    return {
        **msgspec.to_builtins(member),
        "id": public_id("adh", member.id),
        "establishments": [
            {**msgspec.to_builtins(site), "id": public_id("est", site.id)}
            for site in sites
            if by.establishments is None or site.id in by.establishments
        ],
    }

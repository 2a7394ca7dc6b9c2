"""Statements and what was paid of them."""

from typing import Any

import msgspec
from litestar import get
from litestar.di import NamedDependency

from libs.common.access.access_token import AccessToken
from libs.common.access.guard import Scopes
from libs.common.database.pool import Database
from libs.common.http.application import Clock
from libs.common.refusals import NotFound
from services.adherent.acts.journal_reads import note_delegated_read
from services.adherent.contributions import store
from services.adherent.member_file.store import find_member
from services.adherent.permission import STATEMENT_SCOPES, AdherentId, may_read_statements


@get("/{caisse:str}/adherents/{adherent:str}/statements", access=Scopes(*STATEMENT_SCOPES))
async def statements(
    adherent_id: NamedDependency[AdherentId],
    token: NamedDependency[AccessToken],
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
) -> dict[str, Any]:
    """What each period owed, newest due date first, with what settled payments cover."""
    by = may_read_statements(token, adherent_id)
    async with db.transaction(by.caisse) as tx:
        member = await find_member(tx, by.adherent_id)
        if member is None:
            raise NotFound
        found = await store.statements_of(tx, member.adherent_number, by.adherent_id, by.establishments)
        await note_delegated_read(tx, token, "statements.read", by.adherent_id, now=clock())
    return {"statements": msgspec.to_builtins(found)}

"""Standing, asked by the firm, its cabinet, or the documents service before it attests."""

from typing import Any

import msgspec
from litestar import get
from litestar.di import NamedDependency

from libs.common.access.access_token import AccessToken
from libs.common.access.guard import Scopes
from libs.common.database.pool import Database
from libs.common.http.application import Clock
from libs.common.http.problems import PROBLEMS, Problem
from services.adherent.acts.journal_reads import note_delegated_read
from services.adherent.permission import STANDING_SCOPES, AdherentId, may_read_standing
from services.adherent.standing.judge import ContributionsUnknown, judge_standing

PROBLEMS[ContributionsUnknown] = Problem(
    503, "contributions-unknown", "Les comptes de la caisse ne sont pas disponibles. Réessayez plus tard."
)


@get("/{caisse:str}/adherents/{adherent:str}/standing", access=Scopes(*STANDING_SCOPES))
async def standing(
    adherent_id: NamedDependency[AdherentId],
    token: NamedDependency[AccessToken],
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
) -> dict[str, Any]:
    """Whether the whole legal unit is up to date at this instant, and the reasons.

    All the rows judged go to a service alone, which freezes them: they are every statement of the firm, and who asks
    here need not be one who may read those.
    """
    by = may_read_standing(token, adherent_id)
    now = clock()
    async with db.transaction(by.caisse) as tx:
        judged = await judge_standing(tx, by.adherent_id, now=now)
        await note_delegated_read(tx, token, "standing.read", by.adherent_id, now=now)
    told: dict[str, Any] = msgspec.to_builtins(judged)
    if not token.is_service:
        del told["inputs"]
    return told

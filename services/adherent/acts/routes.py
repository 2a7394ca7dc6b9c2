"""Who did what, for the firm concerned."""

from typing import Any

from litestar import get
from litestar.di import NamedDependency

from libs.common.access.access_token import AccessToken
from libs.common.access.guard import Scopes
from libs.common.database.acts import acts_for, as_told
from libs.common.database.pool import Database
from services.adherent.permission import ACTS_SCOPES, AdherentId, may_read_acts


@get(
    "/{caisse:str}/adherents/{adherent:str}/acts",
    access=Scopes(*ACTS_SCOPES, delegable=False, services=False),
)
async def acts(
    adherent_id: NamedDependency[AdherentId],
    token: NamedDependency[AccessToken],
    db: NamedDependency[Database],
) -> dict[str, Any]:
    """The last hundred acts made for the firm, by its people and its cabinets."""
    by = may_read_acts(token, adherent_id)
    async with db.transaction(by.caisse) as tx:
        return {"acts": [as_told(act) for act in await acts_for(tx, by.adherent_id)]}

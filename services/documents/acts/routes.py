"""Who did what with the firm's documents, for the firm concerned."""

from typing import Any

from litestar import get
from litestar.di import NamedDependency

from libs.common.access.access_token import AccessToken
from libs.common.access.guard import Scopes
from libs.common.database.acts import acts_for, as_told
from services.documents.attestations.issue import Workshop
from services.documents.attestations.permission import READ, AdherentId, may_read_attestations


@get("/{caisse:str}/adherents/{adherent:str}/acts", access=Scopes(READ, delegable=False, services=False))
async def acts(
    adherent_id: NamedDependency[AdherentId],
    token: NamedDependency[AccessToken],
    shop: NamedDependency[Workshop],
) -> dict[str, Any]:
    """The last hundred acts: attestations issued, refused, downloaded, checked by third parties."""
    by = may_read_attestations(token, adherent_id)
    async with shop.db.transaction(by.caisse) as tx:
        return {"acts": [as_told(act) for act in await acts_for(tx, by.adherent_id)]}

"""A cabinet enters the platform, and people enter a cabinet."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

from libs.common.database.transaction import Tx
from libs.common.refusals import DomainError
from libs.common.values.identifiers import new_id
from libs.common.values.siret import parse_siren
from services.identity.cabinets import store
from services.identity.cabinets.friendly_code import new_friendly_code

CollaboratorRole = Literal["owner", "admin", "manager", "member"]


class CabinetExists(DomainError):
    """A cabinet of this SIREN is already known: one cabinet is one firm, for all caisses."""


async def create_cabinet(
    tx: Tx,
    siren: str,
    name: str,
    *,
    now: datetime,
    address: Sequence[str] = (),
    open_to_all: bool = False,
    friendly_code: str | None = None,
) -> UUID:
    """Register a cabinet whose SIREN somebody has verified; its id.

    Clients are closed to everybody until put in an access group, unless
    `open_to_all`. Raises `InvalidSiren`, `CabinetExists`.
    """
    code = friendly_code or new_friendly_code()
    cabinet_id = await store.add_cabinet(
        tx, new_id(), parse_siren(siren), name, list(address), code, open_to_all, now
    )
    if cabinet_id is None:
        raise CabinetExists
    return cabinet_id


async def add_collaborator(
    tx: Tx, cabinet_id: UUID, person_id: UUID, role: CollaboratorRole, *, now: datetime
) -> None:
    """Let a person into the cabinet; acting for clients will ask of it a second factor, always."""
    await store.add_collaborator(tx, new_id(), cabinet_id, person_id, role, now)

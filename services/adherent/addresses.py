"""What the addresses of this service name."""

from typing import NewType
from uuid import UUID

from litestar.params import FromPath

from libs.common.values.identifiers import parse_public_id

AdherentId = NewType("AdherentId", UUID)
"""The adhérent of the address, `adh_…`, not yet compared with the token."""


async def provide_adherent_id(adherent: FromPath[str]) -> AdherentId:
    """Raises `InvalidPublicId`, which answers like an unknown firm."""
    return AdherentId(parse_public_id("adh", adherent))

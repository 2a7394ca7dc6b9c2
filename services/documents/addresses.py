"""What the addresses of this service name."""

from typing import NewType
from uuid import UUID

from litestar.params import FromPath

from libs.common.values.caisse_slug import CaisseSlug, parse_caisse_slug
from libs.common.values.identifiers import parse_public_id

AdherentId = NewType("AdherentId", UUID)
"""The adhérent of the address, `adh_…`, not yet compared with the token."""

AttestationId = NewType("AttestationId", UUID)
"""The attestation of the address, `att_…`."""


async def provide_adherent_id(adherent: FromPath[str]) -> AdherentId:
    """Raises `InvalidPublicId`, which answers like an unknown firm."""
    return AdherentId(parse_public_id("adh", adherent))


async def provide_attestation_id(attestation: FromPath[str]) -> AttestationId:
    """Raises `InvalidPublicId`, which answers like an unknown attestation."""
    return AttestationId(parse_public_id("att", attestation))


async def provide_caisse_slug(caisse: FromPath[str]) -> CaisseSlug:
    """Raises `InvalidCaisseSlug`, which answers like an unknown caisse."""
    return parse_caisse_slug(caisse)

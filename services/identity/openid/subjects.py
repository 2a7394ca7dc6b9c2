"""The `sub` a client sees: the person's public id, or a pairwise one (OpenID Connect Core §8)."""

import hashlib
import hmac
from uuid import UUID

from libs.common.access.signatures import b64url
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.identifiers import public_id
from services.identity.openid.clients import ClientMetadata, sector_of


def subject_for(metadata: ClientMetadata, person_id: UUID, *, caisse: CaisseSlug, salt: bytes) -> str:
    """Stable per person and sector, and useless to compare between sectors."""
    if metadata.subject_type != "pairwise":
        return public_id("per", person_id)
    message = f"{caisse}|{sector_of(metadata)}|{person_id}".encode()
    return "pw_" + b64url(hmac.new(salt, message, hashlib.sha256).digest())

"""The revocation of a mandate with its receipt: which services have applied it, signed by the caisse.

A service that stayed silent is named, and still refuses, since what it does not know for 800 ms it does not trust
(delegation.md §4).
"""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from libs.common.events.identity import FloorRaised
from libs.common.values.identifiers import new_id, public_id
from services.identity.delegation.mandate import Mandate
from services.identity.floors.acknowledged import Heard, acknowledged, silent
from services.identity.openid.issuer import Issuer

TYP: Final = "espace-revocation+jwt"


def signed_receipt(issuer: Issuer, mandate: Mandate, heard: Heard, *, jti: UUID, now: datetime) -> str:
    """A compact JWS by the caisse's key (`jwks_uri`): the mandate's end, who applied it, who was silent."""
    claims: dict[str, Any] = {
        "iss": issuer.url,
        "jti": public_id("rcp", jti),
        "iat": int(now.timestamp()),
        "caisse": issuer.caisse,
        "mandate": public_id("mdt", mandate.id),
        "ver": mandate.version,
        "state": mandate.state,
        "revoked_at": mandate.state_at,
        "acknowledged": acknowledged(heard),
        "silent": silent(heard),
    }
    return issuer.keys.sign(msgspec.to_builtins(claims), typ=TYP)


def floor_of(mandate: Mandate, now: datetime) -> FloorRaised:
    """The end of a mandate, to be said once more."""
    return FloorRaised(
        event_id=new_id(),
        at=now,
        kind="mandate",
        key=public_id("mdt", mandate.id),
        version=mandate.version,
        not_before=mandate.state_at,
    )

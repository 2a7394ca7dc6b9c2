"""The revocation of a mandate with its receipt: which services have applied it, signed by the caisse.

A service that stayed silent is named, and still refuses, since what it does not know for 800 ms it does not trust
(delegation.md §4).
"""

import asyncio
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from libs.common.access.resource_server import ResourceServer
from libs.common.database.pool import Database
from libs.common.events.identity import FloorRaised
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.identifiers import new_id, public_id
from services.identity.delegation.mandate import Mandate
from services.identity.floors.acknowledged import Heard, acknowledged, ask_every_service, silent
from services.identity.openid.issuer import Issuer

TYP: Final = "espace-revocation+jwt"


class Questions:
    """Who asks about one mandate while an answer is awaited shares it: a hundred at once are one question.

    Each question is told to every service, and its receipts to whoever waits for any: the cost of many is
    the square of their number.
    """

    def __init__(self, access: ResourceServer) -> None:
        self._access = access
        self._awaited: dict[tuple[CaisseSlug, UUID, int], asyncio.Task[Heard]] = {}

    async def ask(self, db: Database, caisse: CaisseSlug, mandate: Mandate, *, now: datetime) -> Heard:
        """As `ask_every_service`."""
        key = caisse, mandate.id, mandate.version
        answer = self._awaited.get(key)
        if answer is None:
            asking = ask_every_service(db, self._access.bus, caisse, _floor_of(mandate, now))
            answer = self._awaited[key] = asyncio.create_task(asking)
            answer.add_done_callback(lambda _: self._awaited.pop(key))
        # Whoever hangs up takes the answer from nobody else.
        return await asyncio.shield(answer)


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


def _floor_of(mandate: Mandate, now: datetime) -> FloorRaised:
    return FloorRaised(
        event_id=new_id(),
        at=now,
        kind="mandate",
        key=public_id("mdt", mandate.id),
        version=mandate.version,
        not_before=mandate.state_at,
    )

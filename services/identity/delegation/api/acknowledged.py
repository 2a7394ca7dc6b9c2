"""A revocation with its receipt: which services have applied it, signed by the caisse.

P2 holds without it. This is for whoever wants to keep the proof that a power was
taken back, and where: a service that stayed silent is named, and still refuses,
since what it does not know for 800 ms it does not trust (delegation.md §4).
"""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from libs.common.access.floor_feed import Receipt
from libs.common.access.receipts import Receipts
from libs.common.access.resource_server import ResourceServer
from libs.common.bus.connection import Bus, BusUnavailable
from libs.common.database import outbox
from libs.common.database.pool import Database
from libs.common.database.transaction import DatabaseUnavailable
from libs.common.events.envelope import SERVICES
from libs.common.events.identity import FloorRaised
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.identifiers import new_id, public_id
from services.identity.delegation.mandate import Mandate
from services.identity.openid.issuer import Issuer

AWAITED: Final = tuple(service for service in SERVICES if service != "identity")
"""Who accepts delegated tokens."""

PATIENCE: Final = 2.0
"""Seconds for every service to answer; a revocation is applied within one."""

TYP: Final = "espace-revocation+jwt"

Heard = Mapping[str, Receipt | None]


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
            asking = ask_every_service(db, self._access.bus, caisse, mandate, now=now)
            answer = self._awaited[key] = asyncio.create_task(asking)
            answer.add_done_callback(lambda _: self._awaited.pop(key))
        # Whoever hangs up takes the answer from nobody else.
        return await asyncio.shield(answer)


async def ask_every_service(
    db: Database, bus: Bus | None, caisse: CaisseSlug, mandate: Mandate, *, now: datetime
) -> Heard:
    """Say the floor of a mandate, already committed, once more, and gather who applies it.

    A floor said twice changes nothing, so asking again is harmless, and the only way to hear a
    service whose first answer went to somebody else. Raises nothing for want of NATS or PostgreSQL: nobody answered,
    and the revocation stands.
    """
    again = FloorRaised(
        event_id=new_id(),
        at=now,
        kind="mandate",
        key=public_id("mdt", mandate.id),
        version=mandate.version,
        not_before=mandate.state_at,
    )
    receipts = Receipts(again.event_id)
    try:
        async with asyncio.timeout(2 * PATIENCE), receipts.listening(_of(bus), AWAITED):
            async with db.transaction(caisse) as tx:
                await outbox.record(tx, again)
            return await receipts.of(AWAITED, timeout=PATIENCE)
    except (BusUnavailable, DatabaseUnavailable, TimeoutError):
        return dict.fromkeys(AWAITED)


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


def acknowledged(heard: Heard) -> list[dict[str, Any]]:
    """When and by which process of each service; `signature` is the service's own."""
    return [msgspec.to_builtins(receipt) for receipt in heard.values() if receipt is not None]


def silent(heard: Heard) -> list[str]:
    return [service for service, receipt in heard.items() if receipt is None]


def _of(bus: Bus | None) -> Bus:
    if bus is None:
        raise BusUnavailable
    return bus

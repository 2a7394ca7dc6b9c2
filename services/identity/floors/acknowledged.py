"""Who has applied a revocation: the fact is said once more to every service, and their answers are gathered.

P2 holds without it. This is for whoever wants to know, or to keep the proof: a service that stayed silent is named.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from libs.common.access.receipts import Receipt, Receipts
from libs.common.access.resource_server import ResourceServer
from libs.common.bus.connection import Bus, BusUnavailable
from libs.common.database import outbox
from libs.common.database.pool import Database
from libs.common.database.transaction import DatabaseUnavailable
from libs.common.events.envelope import SERVICES
from libs.common.events.identity import FloorRaised, SigningKeyRevoked
from libs.common.values.caisse_slug import CaisseSlug

AWAITED: Final = tuple(service for service in SERVICES if service != "identity")
"""Who accepts the tokens of another service, and hears of revocations by the stream alone."""

PATIENCE: Final = 2.0
"""Seconds for every service to answer; a revocation is applied within one."""

Heard = Mapping[str, Receipt | None]


async def ask_every_service(
    db: Database, bus: Bus | None, caisse: CaisseSlug, again: FloorRaised | SigningKeyRevoked
) -> Heard:
    """Say a fact, already committed under another id, once more, and gather who applies it.

    Said twice it changes nothing, so asking again is harmless, and the only way to hear a service whose first answer
    went to somebody else. Raises nothing for want of NATS or PostgreSQL: nobody answered, and the revocation stands.
    """
    receipts = Receipts(again.event_id)
    try:
        async with asyncio.timeout(2 * PATIENCE), receipts.listening(_of(bus), AWAITED):
            async with db.transaction(caisse) as tx:
                await outbox.record(tx, again)
            return await receipts.of(AWAITED, timeout=PATIENCE)
    except (BusUnavailable, DatabaseUnavailable, TimeoutError):
        return dict.fromkeys(AWAITED)


class Questions:
    """Who asks about one revocation while an answer is awaited shares it: a hundred at once are one question.

    Each question is told to every service, and its receipts to whoever waits for any: the cost of many is
    the square of their number.
    """

    def __init__(self, access: ResourceServer) -> None:
        self._access = access
        self._awaited: dict[tuple[CaisseSlug, str], asyncio.Task[Heard]] = {}

    async def ask(
        self, db: Database, caisse: CaisseSlug, about: str, again: FloorRaised | SigningKeyRevoked
    ) -> Heard:
        """As `ask_every_service`; `about` names what was revoked, the same at each asking."""
        key = caisse, about
        answer = self._awaited.get(key)
        if answer is None:
            asking = ask_every_service(db, self._access.bus, caisse, again)
            answer = self._awaited[key] = asyncio.create_task(asking)
            answer.add_done_callback(lambda _: self._awaited.pop(key))
        # Whoever hangs up takes the answer from nobody else.
        return await asyncio.shield(answer)


def acknowledged(heard: Heard) -> list[dict[str, Any]]:
    """When and by which process of each service; `signature` is the service's own."""
    return [msgspec.to_builtins(receipt) for receipt in heard.values() if receipt is not None]


def silent(heard: Heard) -> list[str]:
    return [service for service, receipt in heard.items() if receipt is None]


def _of(bus: Bus | None) -> Bus:
    if bus is None:
        raise BusUnavailable
    return bus

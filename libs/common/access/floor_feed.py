"""What keeps the floors of a process true: the AUTHZ stream, replayed and then followed.

Each floor applied while it is young is acknowledged aloud, so that a revocation
that waits for its receipt can name who answered.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec
import structlog
from msgspec import Struct

from libs.common.access.revocations import REMEMBERED, Floors
from libs.common.access.signatures import SigningKey, sign_compact
from libs.common.bus.connection import Bus, BusUnavailable, MessagesLost, Told, heed_cancellation
from libs.common.bus.relay import Heartbeat
from libs.common.bus.streams import AUTHZ, HEARTBEAT_SUBJECT
from libs.common.events.envelope import UnknownEvent, decode
from libs.common.events.identity import FloorRaised
from libs.common.values.identifiers import new_id

log = structlog.get_logger()

REPLAYED: Final = timedelta(seconds=REMEMBERED + 30)
"""Further than any token of ours lives: delegated ones need six minutes, the others eleven."""

PATIENCE: Final = 2.0
"""Seconds of silence, ten heartbeats, after which the stream is followed anew."""

RECEIPT_FOR: Final = timedelta(seconds=10)

_heartbeats = msgspec.json.Decoder(Heartbeat)


class Receipt(Struct, frozen=True):
    """One process of a service applied one floor. `signature` is a compact JWS over the other fields."""

    event_id: UUID
    service: str
    instance: UUID
    applied_at: datetime
    signature: str | None = None


def receipt_subject(service: str) -> str:
    return f"{service}.authz.applied.v1"


class FloorFeed:
    """Feeds the floors of one process of `service`; `signing_key` signs its receipts."""

    def __init__(
        self, bus: Bus, floors: Floors, service: str, *, signing_key: SigningKey | None = None
    ) -> None:
        self._bus = bus
        self._floors = floors
        self._service = service
        self._signing_key = signing_key
        self._instance = new_id()

    async def run(self, stop: asyncio.Event | None = None) -> None:
        """Follow the revocations until `stop` (or cancellation), across every outage."""
        while stop is None or not stop.is_set():
            heed_cancellation()
            try:
                if await self._bus.wait_connected(1.0):
                    await self._follow(stop)
                    continue
            except (BusUnavailable, MessagesLost, TimeoutError) as error:
                log.info("floors.interrupted", reason=type(error).__name__)
            await asyncio.sleep(0.1)

    async def _follow(self, stop: asyncio.Event | None) -> None:
        async with self._bus.following(AUTHZ, since=REPLAYED, patience=PATIENCE) as told:
            live = told.backlog == 0
            self._floors.caught_up = self._floors.caught_up or live
            async for message in told:
                heed_cancellation()
                live = live or message.pending == 0
                await self._hear(message, live=live)
                if live and not self._floors.caught_up:
                    self._floors.caught_up = True
                    log.info("floors.caught_up", floors=len(self._floors))
                if stop is not None and stop.is_set():
                    return

    async def _hear(self, message: Told, *, live: bool) -> None:
        try:
            if message.subject == HEARTBEAT_SUBJECT:
                if live:
                    # A replayed heartbeat vouches for nothing that we need.
                    self._floors.heartbeat(_heartbeats.decode(message.body).vouched_until)
                return
            caisse, event = decode(message.subject, message.body)
        except (UnknownEvent, msgspec.MsgspecError):
            log.error("floors.unreadable", subject=message.subject)
            return
        if isinstance(event, FloorRaised):
            self._floors.raise_floor(caisse, event)
            await self._acknowledge(event)

    async def _acknowledge(self, event: FloorRaised) -> None:
        now = datetime.now(UTC)
        if now - event.at > RECEIPT_FOR:
            return
        receipt = Receipt(event.event_id, self._service, self._instance, now)
        if self._signing_key is not None:
            claims = {
                name: value for name, value in msgspec.structs.asdict(receipt).items() if value is not None
            }
            signed = sign_compact(
                self._signing_key, {"typ": "espace-receipt+jwt", "kid": self._signing_key.kid}, claims
            )
            receipt = msgspec.structs.replace(receipt, signature=signed)
        try:
            await self._bus.announce(receipt_subject(self._service), msgspec.json.encode(receipt))
        except BusUnavailable:
            log.info("floors.receipt_lost")

"""What keeps the floors and the revoked keys of a process true: the AUTHZ stream, replayed and then followed.

Each one applied while it is young is acknowledged aloud, so that a revocation
that waits for its receipt can name who answered.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
import structlog

from libs.common.access.access_token import SKEW
from libs.common.access.issuer_keys import BELIEVED, IssuerKeys
from libs.common.access.receipts import Receipt, receipt_subject
from libs.common.access.revocations import REMEMBERED, Floors
from libs.common.access.signatures import SigningKey, sign_compact
from libs.common.bus.connection import Bus, BusUnavailable, MessagesLost, Told, heed_cancellation
from libs.common.bus.relay import Heartbeat
from libs.common.bus.streams import AUTHZ, HEARTBEAT_SUBJECT
from libs.common.events.envelope import UnknownEvent, decode
from libs.common.events.identity import FloorRaised, SigningKeyRevoked
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.identifiers import new_id

log = structlog.get_logger()

REPLAYED: Final = timedelta(seconds=max(REMEMBERED, BELIEVED + 2 * SKEW) + 30)
"""Further than any token of ours lives, delegated ones need six minutes, the others eleven; and than a JWK Set read
before the silence is believed.
"""

PATIENCE: Final = 2.0
"""Seconds of silence, ten heartbeats, after which the stream is followed anew."""

MEASURED_EVERY: Final = 5.0
TRIED_EVERY: Final = 0.5
"""Seconds between two readings of the database's clock: while it is known, and until it is."""

DOUBTED_EVERY: Final = 5.0
"""Seconds between two readings of the JWK Sets in use while the stream is silent, and revoked keys unheard of."""

RECEIPT_FOR: Final = timedelta(seconds=10)
"""What is older when it is applied is the past being replayed: nobody waits for its receipt."""

ReadClock = Callable[[], Awaitable[datetime]]
"""The clock of identity's database, asked by another way than the stream. Raises `ClockUnknown`."""


class ClockUnknown(Exception):
    """Nobody told the time."""


_heartbeats = msgspec.json.Decoder(Heartbeat)


class FloorFeed:
    """Feeds the floors of one process of `service`, and its `keys`; `signing_key` signs its receipts.

    Without `clock` nothing tells how old a heartbeat is, and the floors are never fresh. `key_revoked` is told of the
    caisses that lost a key.
    """

    def __init__(
        self,
        bus: Bus,
        floors: Floors,
        service: str,
        *,
        clock: ReadClock | None,
        keys: IssuerKeys | None = None,
        key_revoked: Callable[[CaisseSlug], None] | None = None,
        signing_key: SigningKey | None = None,
    ) -> None:
        self._bus = bus
        self._floors = floors
        self._service = service
        self._clock = clock
        self._keys = keys
        self._key_revoked = key_revoked
        self._signing_key = signing_key
        self._instance = new_id()

    async def run(self, stop: asyncio.Event | None = None) -> None:
        """Follow the revocations until `stop` (or cancellation), across every outage."""
        beside = [asyncio.create_task(self._measure()), asyncio.create_task(self._doubt())]
        try:
            await self._follow_for_ever(stop)
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)

    async def _doubt(self) -> None:
        """While nobody vouches for the stream, what a JWK Set of before says is asked for again."""
        while self._keys is not None:
            await asyncio.sleep(DOUBTED_EVERY)
            if not self._floors.is_fresh:
                self._keys.doubt()

    async def _measure(self) -> None:
        """Keep the difference of the two clocks known; a reading that fails leaves what was known to age."""
        said = ""
        while self._clock is not None:
            asked = self._floors.monotonic()
            try:
                told = await self._clock()
            except ClockUnknown as error:
                # Twice a second for as long as identity is away: said once, and again when the reason changes.
                if str(error) != said:
                    said = str(error)
                    log.info("floors.clock_unknown", reason=said)
                await asyncio.sleep(TRIED_EVERY)
                continue
            said = ""
            self._floors.measured(told, asked=asked)
            await self._rest()

    async def _rest(self) -> None:
        for _ in range(int(MEASURED_EVERY / TRIED_EVERY)):
            await asyncio.sleep(TRIED_EVERY)
            if not self._floors.is_measured:
                return

    async def _follow_for_ever(self, stop: asyncio.Event | None) -> None:
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
            live, is_filled = told.backlog == 0, False
            async for message in told:
                heed_cancellation()
                live = live or message.pending == 0
                # A stream that the broker has lost is empty, and looks like one that has been read to its end.
                is_filled = await self._hear(message, told.epoch, live=live) or is_filled
                if live and is_filled and not self._floors.caught_up:
                    self._floors.caught_up = True
                    log.info("floors.caught_up", floors=len(self._floors))
                if stop is not None and stop.is_set():
                    return

    async def _hear(self, message: Told, epoch: str, *, live: bool) -> bool:
        """Whether this message says that the stream holds all that was told before it."""
        try:
            if message.subject == HEARTBEAT_SUBJECT:
                return self._believe(_heartbeats.decode(message.body), epoch, live=live)
            caisse, event = decode(message.subject, message.body)
        except (UnknownEvent, msgspec.MsgspecError):
            log.error("floors.unreadable", subject=message.subject)
            return False
        if isinstance(event, FloorRaised):
            self._floors.raise_floor(caisse, event)
            await self._acknowledge(event)
        elif isinstance(event, SigningKeyRevoked) and self._keys is not None:
            self._refuse(caisse, event.kid, self._keys)
            await self._acknowledge(event)
        return False

    def _refuse(self, caisse: CaisseSlug, kid: str, keys: IssuerKeys) -> None:
        keys.revoke(caisse, kid)
        if self._key_revoked is not None:
            self._key_revoked(caisse)
        log.info("keys.revoked", caisse=caisse, kid=kid)

    def _believe(self, heartbeat: Heartbeat, epoch: str, *, live: bool) -> bool:
        """Of another stream than the one that we follow it says nothing: whoever sends it has yet to notice ours."""
        if live and heartbeat.epoch == epoch:
            # A replayed heartbeat vouches for nothing that we need.
            self._floors.heartbeat(heartbeat.vouched_until)
        # The version before names none; it may still be the one that works while we start.
        return heartbeat.epoch in (epoch, "")

    async def _acknowledge(self, event: FloorRaised | SigningKeyRevoked) -> None:
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

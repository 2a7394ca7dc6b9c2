"""The relay: what was committed leaves for the broker, in order, until it is acknowledged.

A fact is marked sent only after the broker's word. Killed in between, it is sent
again under the same id. Two relays share the work by locks and never wait for
each other. Revocations have a relay of their own, which also sends the heartbeat by which every service
knows that it has heard them all (docs/decisions/0008).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
import structlog
from msgspec import Struct
from prometheus_client import Gauge

from libs.common.bus.connection import Bus, BusUnavailable, heed_cancellation
from libs.common.bus.streams import AUTHZ, HEARTBEAT_SUBJECT, Stream, keep_stream, stream_of, streams_of
from libs.common.database import inbox, outbox
from libs.common.database.pool import Database
from libs.common.database.transaction import DatabaseUnavailable, Tx

log = structlog.get_logger()

ROUND_SECONDS: Final = 0.2
BATCH: Final = 100
LONGEST_REST: Final = 60.0
CHANNEL: Final = "outbox"

UNSENT = Gauge("espace_outbox_unsent", "Facts committed and not yet acknowledged by NATS", ["service"])
OLDEST = Gauge("espace_outbox_oldest_seconds", "Age of the oldest fact not yet acknowledged", ["service"])


class Heartbeat(Struct, frozen=True):
    """Every revocation committed before `vouched_until` (the database's clock) precedes this message in the stream
    created at `epoch`. Read in another one, the broker having lost that, it vouches for nothing.
    """

    vouched_until: datetime
    epoch: str = ""
    """Empty from the version before, which did not say: it vouches for nothing either."""


class Lane:
    """One of the two queues of an outbox, urgent facts or the others, and the stream that it fills."""

    def __init__(self, bus: Bus, db: Database, stream: str, *, urgent: bool) -> None:
        self._bus = bus
        self._db = db
        self._stream = stream
        self._urgent = urgent
        self._rests: dict[UUID, tuple[float, float]] = {}

    async def drain(self) -> None:
        """Send all that is unsent.

        A fact that the broker does not take rests, each time longer, and holds up
        no other. Raises `BusUnavailable` or `DatabaseUnavailable`; nothing is lost.
        """
        sent = BATCH
        while sent == BATCH:
            async with self._db.across_caisses() as tx:
                sent = await self._send_batch(tx)

    async def drain_and_vouch(self) -> Heartbeat | None:
        """Drain; the database's time when this began, if every urgent fact recorded before it was acknowledged.

        By whichever relay. None when one is in another relay's hands, or refused by the broker, or while the stream
        is filled again. An idle round, five a second, is one transaction: its statements see each what was committed
        before it. The clock is read first, so it is the oldest; then the epoch: a fact that the broker has lost since
        is unsent again before another epoch is said to be filled, so whoever finds it sent found it sent there.
        """
        async with self._db.across_caisses() as tx:
            began = await outbox.clock(tx)
            epoch = await outbox.refilled_epoch(tx, self._stream)
            if not await self._send_batch(tx):
                return await _vouched(tx, began, epoch)
        await self.drain()
        async with self._db.across_caisses() as tx:
            return await _vouched(tx, began, epoch)

    async def _send_batch(self, tx: Tx) -> int:
        facts = await outbox.claim_unsent(tx, urgent=self._urgent, resting=self._resting(), limit=BATCH)
        if facts:
            if not await outbox.hold_epoch(tx, self._stream):
                # Nobody has declared the stream: there is no telling what it holds.
                return 0
            sent = await self._bus.publish_all(facts)
            # If the machine dies here they are sent again, and recognised by their id.
            await outbox.mark_sent(tx, sent)
            self._rest([fact for fact in facts if fact.event_id not in sent], sent)
        return len(facts)

    def _resting(self) -> list[UUID]:
        now = time.monotonic()
        return [event_id for event_id, (until, _) in self._rests.items() if until > now]

    def _rest(self, refused: list[outbox.UnsentFact], sent: set[UUID]) -> None:
        for event_id in sent:
            self._rests.pop(event_id, None)
        # When nothing passes the broker is at fault, not the fact: soon again.
        longest = LONGEST_REST if sent else 1.0
        for fact in refused:
            _, length = self._rests.get(fact.event_id, (0.0, 0.25))
            length = min(length * 2, longest)
            self._rests[fact.event_id] = (time.monotonic() + length, length)
            log.warning(
                "relay.fact_not_taken", event_id=str(fact.event_id), subject=fact.subject, retry_in=length
            )


async def _vouched(tx: Tx, began: datetime, epoch: str | None) -> Heartbeat | None:
    if epoch is None or await outbox.urgent_unsent_before(tx, began):
        return None
    return Heartbeat(began, epoch)


async def relay(
    bus: Bus, db: Database, service: str, stop: asyncio.Event, *, round_seconds: float = ROUND_SECONDS
) -> None:
    """Relay the ordinary facts of `service` until `stop`; `db` is its relay role, with at least three connections."""
    facts = Lane(bus, db, stream_of(service), urgent=False)
    streams = [stream for stream in streams_of(service) if not stream.urgent]
    await _until(
        stop,
        _again("streams", lambda: _watch(bus, db, streams)),
        _again("measure", lambda: _measure(db, service)),
        _again("facts", lambda: _send_facts(facts, round_seconds)),
    )


async def relay_revocations(
    bus: Bus, db: Database, service: str, stop: asyncio.Event, *, round_seconds: float = ROUND_SECONDS
) -> None:
    """Relay the urgent facts of `service` until `stop`, with the heartbeat, and keep their stream; `db` is its relay
    role, with at least three connections.

    Nothing that computes may share its event loop: each message waits for it some ten times.
    """
    wake = asyncio.Event()
    revocations = Lane(bus, db, AUTHZ, urgent=True)
    streams = [stream for stream in streams_of(service) if stream.urgent]
    await _until(
        stop,
        _again("streams", lambda: _watch(bus, db, streams)),
        _again("bell", lambda: _hear_the_bell(db, wake)),
        _again("revocations", lambda: _send_revocations(bus, revocations, wake, round_seconds), pause=0.1),
    )


async def _until(stop: asyncio.Event, *duties: Coroutine[Any, Any, None]) -> None:
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(duty) for duty in duties]
        await stop.wait()
        for task in running:
            task.cancel()


async def _again(duty: str, step: Callable[[], Awaitable[None]], *, pause: float = 1.0) -> None:
    """Do `step` for ever. Whatever goes wrong waits a moment: a relay that gives up strands every fact."""
    while True:
        heed_cancellation()
        try:
            await step()
        except (BusUnavailable, DatabaseUnavailable) as error:
            log.info("relay.waiting", duty=duty, reason=type(error).__name__)
            await asyncio.sleep(pause)
        except Exception:
            log.exception("relay.failed", duty=duty)
            await asyncio.sleep(pause)


async def _send_facts(lane: Lane, round_seconds: float) -> None:
    await lane.drain()
    await asyncio.sleep(round_seconds)


async def _send_revocations(bus: Bus, lane: Lane, wake: asyncio.Event, round_seconds: float) -> None:
    wake.clear()
    # What cannot be vouched for is not: silence then makes the services ask identity itself.
    if (heartbeat := await lane.drain_and_vouch()) is not None:
        await bus.publish(HEARTBEAT_SUBJECT, msgspec.json.encode(heartbeat), timeout=0.5)
    try:
        async with asyncio.timeout(round_seconds):
            await wake.wait()
    except TimeoutError:
        return


async def _hear_the_bell(db: Database, wake: asyncio.Event) -> None:
    """Keep one connection listening; without it the rounds still come every 200 ms."""
    async with db.listening(CHANNEL, wake) as lost:
        await lost.wait()


async def _watch(bus: Bus, db: Database, streams: Sequence[Stream]) -> None:
    """Declare the streams at each connection, and look now and then whether the broker still has them."""
    if await bus.wait_connected(5):
        for stream in streams:
            await keep_stream(bus, db, stream)
        await asyncio.sleep(2)


async def _measure(db: Database, service: str) -> None:
    async with db.across_caisses() as tx:
        depth = await outbox.depth(tx)
        await outbox.forget_sent(tx)
        await inbox.forget_heard(tx)
    UNSENT.labels(service).set(depth.unsent)
    OLDEST.labels(service).set(depth.oldest.total_seconds())
    await asyncio.sleep(10)

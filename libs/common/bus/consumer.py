"""Reactions to facts: inbox row and effect in one transaction, then the acknowledgement.

Killed before the commit, the fact comes again; killed after it, the inbox knows
it. A fact that fails five times for a reason of its own is laid aside as a dead
letter, with its bytes, and the others go on meanwhile.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final
from uuid import NAMESPACE_URL, UUID, uuid5

import structlog
from nats.aio.msg import Msg
from nats.errors import TimeoutError as NatsTimeout
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError
from prometheus_client import Counter

from libs.common.bus.connection import OUTAGE, Bus, BusUnavailable, heed_cancellation
from libs.common.database import dead_letters, inbox
from libs.common.database.pool import Database
from libs.common.database.transaction import DatabaseUnavailable, Tx
from libs.common.events.envelope import Event, UnknownEvent, decode, service_of, tag_of
from libs.common.refusals import Unavailable
from libs.common.values.caisse_slug import InvalidCaisseSlug, parse_caisse_slug

log = structlog.get_logger()

ATTEMPTS: Final = 5
BATCH: Final = 50
MOST_UNDER_WAY: Final = 4 * BATCH
"""Delivered and not answered, of one durable: the broker delivers no more."""

FETCH_SECONDS: Final = 1.0
"""Short, so that a stop is heard and a lost consumer noticed."""

QUIET_FETCHES: Final = 5
"""Empty fetches after which one asks the broker whether the consumer still exists."""

Reaction = Callable[[Tx, Any], Awaitable[None]]
"""What a fact causes here: `async fn(tx, event)`, in a transaction of the fact's caisse."""

HEARD = Counter("espace_facts_heard", "Facts delivered to a consumer", ["consumer", "outcome"])


class _Tries:
    """How often each fact failed here, of its own fault.

    The broker's count is another one: it counts each delivery of what waits behind a slow fact of its batch, and each
    outage. Kept by the process: of several on one durable, each tries a fact at most five times, and one that was
    started again begins anew. A fact is laid aside late by that, never early.
    """

    def __init__(self) -> None:
        self._failed: dict[UUID, int] = {}

    def failed(self, key: UUID) -> int:
        """Count this failure; how many that makes."""
        tries = self._failed.pop(key, 0) + 1
        self._failed[key] = tries
        # No more than that are under way on one durable: the oldest beyond them was done by another process.
        if len(self._failed) > MOST_UNDER_WAY:
            del self._failed[next(iter(self._failed))]
        return tries

    def over(self, key: UUID) -> None:
        self._failed.pop(key, None)


async def consume(
    bus: Bus,
    db: Database,
    stream: str,
    durable: str,
    handlers: Mapping[type[Event], Reaction],
    *,
    stop: asyncio.Event | None = None,
) -> None:
    """Hear the facts of `handlers` from `stream` until `stop` (or cancellation); `db` is the app role.

    Several processes may share one `durable`. NATS absent, or its stream wiped,
    is waited for. A handler's event class has one handler, and each event is
    handled once; a handler that raises is called again, in a new transaction.
    """
    reactions = dict(handlers)
    tries = _Tries()
    subjects = sorted(f"{service_of(kind)}.*.{tag_of(kind)}" for kind in reactions)
    while stop is None or not stop.is_set():
        heed_cancellation()
        try:
            if not await bus.wait_connected(FETCH_SECONDS):
                continue
            async with _pulling(bus, stream, durable, subjects) as pull:
                await _react_while_it_lasts(pull, db, durable, reactions, tries, stop)
        except (BusUnavailable, NotFoundError) as error:
            log.info("consumer.waiting", consumer=durable, stream=stream, reason=type(error).__name__)
            await asyncio.sleep(1)


@asynccontextmanager
async def _pulling(bus: Bus, stream: str, durable: str, subjects: list[str]) -> AsyncGenerator[Any, None]:
    config = ConsumerConfig(
        durable_name=durable,
        ack_policy=AckPolicy.EXPLICIT,
        deliver_policy=DeliverPolicy.ALL,
        ack_wait=30,
        max_deliver=-1,
        max_ack_pending=MOST_UNDER_WAY,
        filter_subjects=subjects,
    )
    try:
        # Creating it again with the same terms changes nothing; with other subjects it is brought up to date.
        await bus.jetstream.add_consumer(stream, config)
        pull = await bus.jetstream.pull_subscribe_bind(durable, stream)
    except NotFoundError:
        raise
    except OUTAGE as error:
        raise BusUnavailable(stream) from error
    try:
        yield pull
    finally:
        try:
            await pull.unsubscribe()
        except OUTAGE:
            log.debug("consumer.unsubscribe_failed", consumer=durable)


async def _react_while_it_lasts(
    pull: Any,
    db: Database,
    durable: str,
    reactions: dict[type[Event], Reaction],
    tries: _Tries,
    stop: asyncio.Event | None,
) -> None:
    quiet = 0
    while stop is None or not stop.is_set():
        heed_cancellation()
        try:
            messages: list[Msg] = await pull.fetch(BATCH, timeout=FETCH_SECONDS)
            quiet = 0
        except (NatsTimeout, TimeoutError):
            messages = []
            quiet += 1
        except OUTAGE as error:
            raise BusUnavailable(durable) from error
        if quiet >= QUIET_FETCHES:
            quiet = 0
            await _still_there(pull)
        for message in messages:
            heed_cancellation()
            await _react(message, db, durable, reactions, tries)


async def _still_there(pull: Any) -> None:
    try:
        await pull.consumer_info()
    except NotFoundError:
        raise
    except OUTAGE as error:
        raise BusUnavailable("consumer") from error


async def _react(
    message: Msg, db: Database, durable: str, reactions: dict[type[Event], Reaction], tries: _Tries
) -> None:
    key = _id_of(message)
    try:
        caisse, event = decode(message.subject, message.data)
        async with db.transaction(caisse) as tx:
            is_new = await inbox.first_time(tx, event.event_id, consumer=durable)
            if is_new:
                await reactions[type(event)](tx, event)
        tries.over(key)
        await _answer(message.ack)
        HEARD.labels(durable, "done" if is_new else "known").inc()
    except (Unavailable, DatabaseUnavailable) as error:
        # Not the fact's fault: as often as it takes.
        log.info("consumer.postponed", consumer=durable, subject=message.subject, reason=type(error).__name__)
        delivered = message.metadata.num_delivered or 1
        await _answer(lambda: message.nak(delay=min(5.0, 0.25 * delivered)))
    except Exception as error:
        HEARD.labels(durable, "failed").inc()
        attempt = tries.failed(key)
        if not isinstance(error, UnknownEvent):
            log.exception("consumer.failed", consumer=durable, subject=message.subject, attempt=attempt)
        if attempt >= ATTEMPTS or isinstance(error, UnknownEvent):
            await _lay_aside(message, db, durable, error, tries)
        else:
            await _answer(lambda: message.nak(delay=0.1 * 2**attempt))


async def _lay_aside(message: Msg, db: Database, durable: str, error: Exception, tries: _Tries) -> None:
    try:
        caisse = parse_caisse_slug(message.subject.split(".")[1])
        async with db.transaction(caisse) as tx:
            await dead_letters.lay_aside(
                tx,
                consumer=durable,
                event_id=_id_of(message),
                subject=message.subject,
                body=message.data,
                # The class only: a message may quote the fact's content.
                reason=type(error).__name__,
            )
    except (InvalidCaisseSlug, IndexError):
        log.warning("consumer.foreign_message", consumer=durable, subject=message.subject)
    except (Unavailable, DatabaseUnavailable):
        await _answer(lambda: message.nak(delay=5))
        return
    # Heard again once the cause is mended, it has five tries like any other.
    tries.over(_id_of(message))
    log.error("consumer.dead_letter", consumer=durable, subject=message.subject, reason=type(error).__name__)
    HEARD.labels(durable, "dead_letter").inc()
    await _answer(message.term)


def _id_of(message: Msg) -> UUID:
    given = (message.headers or {}).get("Nats-Msg-Id", "")
    try:
        return UUID(given)
    except ValueError:
        return uuid5(NAMESPACE_URL, f"{message.subject}#{message.metadata.sequence.stream}")


async def _answer(said: Callable[[], Awaitable[None]]) -> None:
    try:
        await said()
    except OUTAGE:
        # Unsaid, the message comes again, and the inbox knows it.
        log.debug("consumer.answer_lost")

"""The streams of each service: declared from the facts it publishes, recreated and refilled when wiped.

A stream's date of creation is its epoch (docs/decisions/0008). The outbox remembers the epoch it has
filled; another one means that the broker lost the stream, and every fact still
kept is sent again. Whoever heard it before recognises the event id.
"""

from datetime import timedelta
from typing import Final, NamedTuple

import structlog
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import NotFoundError

from libs.common.bus.connection import OUTAGE, Bus, BusUnavailable, epoch_of
from libs.common.database import outbox
from libs.common.database.pool import Database
from libs.common.events.envelope import event_classes

log = structlog.get_logger()

AUTHZ: Final = "AUTHZ"
HEARTBEAT_SUBJECT: Final = "identity.authz.heartbeat.v1"
REFILL_BATCH: Final = 2000


class Stream(NamedTuple):
    """One stream as we declare it."""

    name: str
    subjects: tuple[str, ...]
    max_age: timedelta
    urgent: bool
    """Whether it carries the outbox's urgent lane: the floors that revoke."""


def stream_of(service: str) -> str:
    """The stream of a service's facts: `IDENTITY`."""
    return service.upper()


def streams_of(service: str) -> list[Stream]:
    """The streams a service keeps: its facts, by aggregate, and for identity the revocations."""
    aggregates = {tag.split(".", 1)[0] for tag in event_classes(service)}
    subjects = tuple(f"{service}.*.{aggregate}.>" for aggregate in sorted(aggregates - {"authz"}))
    streams: list[Stream] = []
    if subjects:
        streams.append(Stream(stream_of(service), subjects, outbox.KEPT, urgent=False))
    if "authz" in aggregates:
        # Older revocations are of no use: the tokens that they concern have expired, and nobody believes a JWK Set of
        # before (`floor_feed.REPLAYED`).
        streams.append(
            Stream(AUTHZ, (f"{service}.*.authz.>", HEARTBEAT_SUBJECT), timedelta(minutes=20), urgent=True)
        )
    return streams


async def keep_stream(bus: Bus, db: Database, stream: Stream) -> None:
    """Declare one stream, and have the outbox sent again into it when it is new.

    `db` is the relay role. May run at any time, in several processes. Raises `BusUnavailable`, `DatabaseUnavailable`.
    """
    epoch = await _declare(bus, stream)
    async with db.across_caisses() as tx:
        noticed = await outbox.notice_epoch(tx, stream.name, epoch)
    if noticed.is_refilled:
        return
    again = 0
    while True:
        async with db.across_caisses() as tx:
            batch = await outbox.send_again(
                tx,
                urgent=stream.urgent,
                sent_before=noticed.at,
                newer_than=stream.max_age,
                limit=REFILL_BATCH,
            )
            if batch == 0:
                await outbox.mark_refilled(tx, stream.name, epoch)
                break
            again += batch
    log.info("bus.stream_refilled", stream=stream.name, facts=again)


async def _declare(bus: Bus, stream: Stream) -> str:
    wanted = StreamConfig(
        name=stream.name,
        subjects=list(stream.subjects),
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        discard=DiscardPolicy.OLD,
        max_age=stream.max_age.total_seconds(),
        duplicate_window=120,
        num_replicas=bus.replicas,
    )
    jetstream = bus.jetstream
    try:
        try:
            info = await jetstream.stream_info(stream.name)
        except NotFoundError:
            info = await jetstream.add_stream(wanted)
            log.info("bus.stream_created", stream=stream.name)
        if _shape(info.config) != _shape(wanted):
            info = await jetstream.update_stream(wanted)
        return epoch_of(info)
    except OUTAGE as error:
        raise BusUnavailable(stream.name) from error


def _shape(config: StreamConfig) -> tuple[object, ...]:
    """What of a declared stream a later version, or another setting, may change."""
    return set(config.subjects or ()), config.max_age, config.num_replicas

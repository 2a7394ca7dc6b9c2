"""The link to NATS: made in the background, lost and found again, never waited for at boot.

NATS is transport, never truth: whoever publishes while the link is down is told
so at once and tries again from the outbox.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple
from uuid import UUID

import nats
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, StreamInfo

from libs.common.refusals import Unavailable
from libs.common.runtime.settings import Settings

log = structlog.get_logger()

PING_SECONDS: Final = 5
"""The library's default notices a dead peer after minutes."""

OPERATION_SECONDS: Final = 2.0
OUTAGE: Final = (NatsError, OSError, TimeoutError, asyncio.TimeoutError)


class BusUnavailable(Unavailable):
    """NATS does not answer, or refuses; what was to be said stays in the outbox."""


class Told(NamedTuple):
    """A message of a followed stream; `pending` is how many later ones are already stored."""

    subject: str
    body: bytes
    pending: int


class MessagesLost(Exception):
    """The server sent messages of a followed stream that never arrived: follow again from the past."""


def epoch_of(info: StreamInfo) -> str:
    """The date of creation of a stream, as the one name of it that we keep and say. Raises `BusUnavailable`."""
    if not isinstance(info.created, datetime):
        raise BusUnavailable(f"a stream without a date: {info.created!r}")
    return str(info.created.astimezone(UTC))


def heed_cancellation() -> None:
    """End here if this task was asked to end.

    `asyncio.wait_for` of Python 3.11, which nats-py leans on, may swallow a
    cancellation that comes with its result: an endless loop then checks for itself.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


class Bus:
    """One connection to NATS for one process."""

    def __init__(
        self, url: str, *, user: str, password: str, name: str, ca: Path | None = None, replicas: int = 1
    ) -> None:
        self.replicas = replicas
        """Copies of each stream that is declared over this link."""
        self._servers = [address.strip() for address in url.split(",")]
        self._user = user
        self._password = password
        self._name = name
        self._tls = ssl.create_default_context(cafile=str(ca)) if ca is not None else None
        self._client: Client | None = None
        self._jetstream: JetStreamContext | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._up = asyncio.Event()
        self._closing = False
        self.connections = 0
        """How many times the link was made; a change means that something may have been missed."""

    @classmethod
    def of(cls, settings: Settings, service: str, *, name: str | None = None) -> "Bus":
        """The link of one service, under its own NATS user."""
        section = settings.service(service)
        return cls(
            settings.nats.url,
            user=section.nats_user,
            password=section.nats_password,
            name=name or service,
            ca=settings.nats.ca,
            replicas=settings.nats.replicas,
        )

    def start(self) -> None:
        """Begin to connect, and go on trying until `close`; returns at once."""
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._stay_connected(), name=f"{self._name}: NATS")

    async def close(self) -> None:
        """Hang up quietly, whatever the state of the link."""
        self._closing = True
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
            self._connecting = None
        await self._hang_up()

    @property
    def connected(self) -> bool:
        return self._client is not None and self._client.is_connected

    async def wait_connected(self, timeout: float) -> bool:
        """True once the link stands, False if it does not within `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                while not self.connected:
                    await self._up.wait()
                    await asyncio.sleep(0)
        except TimeoutError:
            return False
        return True

    @property
    def jetstream(self) -> JetStreamContext:
        """For this package alone. Raises `BusUnavailable` while the link is down."""
        if self._jetstream is None or not self.connected:
            raise BusUnavailable(self._name)
        return self._jetstream

    async def publish(self, subject: str, body: bytes, *, timeout: float = OPERATION_SECONDS) -> None:
        """Store one message in the stream of `subject`. Raises `BusUnavailable`."""
        try:
            await self.jetstream.publish(subject, body, timeout=timeout)
        except OUTAGE as error:
            raise BusUnavailable(subject) from error

    async def publish_all(self, messages: Sequence[tuple[UUID, str, bytes]]) -> set[UUID]:
        """Store messages (id, subject, body) in their order; the ids that the broker acknowledged.

        The id goes as `Nats-Msg-Id`, so that the broker drops a repetition. A
        message that it refuses, or does not acknowledge in time, is missing from
        the answer and holds up no other. Raises `BusUnavailable` without a link.
        """
        jetstream = self.jetstream
        sent: dict[asyncio.Future[Any], UUID] = {}
        try:
            for key, subject, body in messages:
                acknowledged = await jetstream.publish_async(
                    subject, body, wait_stall=OPERATION_SECONDS, headers={"Nats-Msg-Id": str(key)}
                )
                sent[acknowledged] = key
        except OUTAGE as error:
            log.warning("bus.publish_interrupted", reason=type(error).__name__)
        if not sent:
            return set()
        done, pending = await asyncio.wait(sent, timeout=OPERATION_SECONDS)
        for unanswered in pending:
            unanswered.cancel()
        return {sent[answer] for answer in done if not answer.cancelled() and answer.exception() is None}

    async def announce(self, subject: str, body: bytes) -> None:
        """Say something to whoever listens now; nothing is kept. Raises `BusUnavailable`."""
        if self._client is None or not self.connected:
            raise BusUnavailable(self._name)
        try:
            await self._client.publish(subject, body)
        except OUTAGE as error:
            raise BusUnavailable(subject) from error

    @asynccontextmanager
    async def hearing(
        self, subject: str, heard: Callable[[str, bytes], Awaitable[None]]
    ) -> AsyncGenerator[None, None]:
        """Call `heard(subject, body)` for each announcement made while the block runs. Raises `BusUnavailable`."""
        if self._client is None or not self.connected:
            raise BusUnavailable(self._name)

        async def on_message(message: Msg) -> None:
            await heard(message.subject, message.data)

        subscription = await self._client.subscribe(subject, cb=on_message)
        try:
            await self._known_to_the_broker(self._client)
            yield
        finally:
            try:
                await subscription.unsubscribe()
            except OUTAGE:
                log.debug("bus.unsubscribe_failed")

    async def _known_to_the_broker(self, client: Client) -> None:
        """All that was written until now has arrived: a subscription misses nothing said from here on."""
        try:
            await client.flush(timeout=int(OPERATION_SECONDS))
        except OUTAGE as error:
            raise BusUnavailable(self._name) from error

    @asynccontextmanager
    async def following(
        self, stream: str, *, since: timedelta, patience: float
    ) -> AsyncGenerator["Following", None]:
        """Read a whole stream in order, from `since` ago and then live, leaving no trace on the server.

        A gap in the server's own numbering is noticed at the next message. Raises `BusUnavailable`.
        """
        jetstream = self.jetstream
        client = self._client
        assert client is not None
        inbox = client.new_inbox()
        subscription = await client.subscribe(inbox)
        name = ""
        try:
            info = await jetstream.add_consumer(
                stream,
                ConsumerConfig(
                    deliver_subject=inbox,
                    ack_policy=AckPolicy.NONE,
                    max_deliver=1,
                    deliver_policy=DeliverPolicy.BY_START_TIME,
                    opt_start_time=datetime.now(UTC) - since,
                    inactive_threshold=5.0,
                    mem_storage=True,
                    num_replicas=1,
                ),
            )
            name = info.name or ""
            # Asked after the consumer was made: if the stream was another one then, that consumer is gone with it.
            epoch = epoch_of(await jetstream.stream_info(stream))
            yield Following(subscription, info.num_pending or 0, patience, epoch)
        except OUTAGE as error:
            raise BusUnavailable(stream) from error
        finally:
            try:
                await subscription.unsubscribe()
                if name and self.connected:
                    await jetstream.delete_consumer(stream, name)
            except OUTAGE:
                log.debug("bus.unfollow_failed")

    async def _stay_connected(self) -> None:
        while not self._closing:
            heed_cancellation()
            closed = asyncio.Event()

            async def on_closed(closed: asyncio.Event = closed) -> None:
                closed.set()

            try:
                self._client = await self._connect(on_closed)
                # A cancellation lost while connecting would leave `close` waiting for ever.
                heed_cancellation()
                self._jetstream = self._client.jetstream(timeout=OPERATION_SECONDS)
                self._made()
                await closed.wait()
            except OUTAGE as error:
                log.warning("bus.connect_failed", reason=type(error).__name__)
                await asyncio.sleep(1)
            await self._hang_up()

    async def _connect(self, on_closed: Callable[[], Awaitable[None]]) -> Client:
        async def on_error(error: Exception) -> None:
            log.warning("bus.error", reason=str(error) or type(error).__name__)

        async def on_disconnected() -> None:
            self._up.clear()
            if not self._closing:
                log.warning("bus.disconnected")

        async def on_reconnected() -> None:
            self._made()

        return await nats.connect(
            self._servers,
            name=self._name,
            user=self._user,
            password=self._password,
            tls=self._tls,
            error_cb=on_error,
            closed_cb=on_closed,
            disconnected_cb=on_disconnected,
            reconnected_cb=on_reconnected,
            allow_reconnect=True,
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.5,  # type: ignore[arg-type]
            connect_timeout=2,
            ping_interval=PING_SECONDS,
            max_outstanding_pings=2,
            drain_timeout=2,
        )

    def _made(self) -> None:
        self.connections += 1
        self._up.set()
        log.info("bus.connected", connections=self.connections)

    async def _hang_up(self) -> None:
        client, self._client, self._jetstream = self._client, None, None
        self._up.clear()
        if client is not None and not client.is_closed:
            try:
                await client.close()
            except OUTAGE:
                # The library flushes into the dead socket.
                log.debug("bus.close_while_down")


class Following:
    """The messages of a followed stream, created at `epoch`. `backlog` is how many it held when this began."""

    def __init__(self, subscription: Any, backlog: int, patience: float, epoch: str) -> None:
        self._subscription = subscription
        self._patience = patience
        self._next = 1
        self.backlog = backlog
        self.epoch = epoch

    def __aiter__(self) -> "Following":
        return self

    async def __anext__(self) -> Told:
        """The next message. Raises `TimeoutError` after `patience` seconds of silence, or `MessagesLost`."""
        message: Msg = await self._subscription.next_msg(timeout=self._patience)
        place = message.metadata
        if place.sequence.consumer != self._next:
            raise MessagesLost(message.subject)
        self._next += 1
        return Told(message.subject, message.data, place.num_pending)

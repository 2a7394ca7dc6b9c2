"""OpenID Connect Back-Channel Logout 1.0: every client of a session hears that it is over, at least once.

The transaction that ends a session queues its logout tokens. The queue is leased: a
worker that dies loses its lease, not the message, and the attempt counts: a delivery
that kills whoever takes it is given up like any other. Each delivery has its own short
deadline and its own place, few of which one host ever holds: a client that does not
answer delays nobody.
"""

import asyncio
import secrets
import time
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import structlog

from libs.common.database.pool import Database
from libs.common.database.transaction import DatabaseUnavailable, Tx
from libs.common.http.application import Clock
from libs.common.runtime.telemetry import counter
from libs.common.values.caisse_slug import CaisseSlug
from services.identity.openid import store
from services.identity.openid.clients import Client
from services.identity.openid.guarded_fetcher import FetchRefused
from services.identity.openid.issuer import Issuer
from services.identity.openid.logout import store as logout_store
from services.identity.openid.logout.store import Delivery
from services.identity.openid.provider import Provider
from services.identity.openid.subjects import subject_for
from services.identity.sign_in.session import sid_of

log = structlog.get_logger()

LEASE = timedelta(seconds=30)
"""Longer than a delivery may take (`guarded_fetcher.LONGEST`)."""
AT_ONCE = 64
OF_ONE_HOST = 4
EVERY_SECONDS = 0.5
LAST_WORDS = 1.0
"""Seconds a delivery under way may still take at the end; within the worker's own."""
LATE_EVERY = 60.0
LOOKS_BACK = timedelta(hours=1)
"""A grant whose transaction began before its session's end is found by then."""
WAITS = (5, 30, 120, 600, 3600, 3600 * 4, 3600 * 12)
"""Seconds before each new attempt; with the last, the client has had seventeen hours."""

TOKEN_LASTS = timedelta(minutes=2)
"""§2.4: so that a captured one is of no use later."""

EVENT = "http://schemas.openid.net/event/backchannel-logout"
ACCEPTED = frozenset({200, 204})

LEFT: Final = "the worker ended in the middle"
"""The answer noted for an attempt whose lease ended before anybody had said what came of it."""
TOLD: Final = counter(
    "logouts_told", "Attempts to tell a client that a session is over, by what came of them", "outcome"
)
"""`done`, `refused`, `left` (by a worker that ended), and `given_up`, once beside the last attempt."""


async def deliver_for_ever(provider: Provider, relay: Database, stop: asyncio.Event, clock: Clock) -> None:
    """The worker's duty. `relay` sees the queue of every caisse, `provider.db` one caisse at a time."""
    places = Places(provider, relay, clock)
    late_at = 0.0
    try:
        while not stop.is_set():
            try:
                if time.monotonic() >= late_at:
                    await find_late(relay, clock())
                    late_at = time.monotonic() + LATE_EVERY
                await places.fill()
            except DatabaseUnavailable:
                log.warning("logout.postponed")
            await places.one_freed(stop, EVERY_SECONDS)
    finally:
        await places.leave()


async def find_late(relay: Database, now: datetime) -> None:
    async with relay.across_caisses() as tx:
        await logout_store.enqueue_late(tx, ended_after=now - LOOKS_BACK, now=now)


async def deliver_due(provider: Provider, relay: Database, now: datetime) -> None:
    """All that is due at `now`, and no more."""
    places = Places(provider, relay, lambda: now)
    await find_late(relay, now)
    while await places.fill():
        await places.all_freed()


class Places:
    """The deliveries of one worker under way: a place that is freed takes the next, whoever the others wait for."""

    def __init__(self, provider: Provider, relay: Database, clock: Clock) -> None:
        self._provider = provider
        self._relay = relay
        self._clock = clock
        self._taken: dict[asyncio.Task[None], UUID] = {}

    async def fill(self) -> bool:
        """Lease what is due into the places free; whether anything is under way. Raises `DatabaseUnavailable`."""
        free = AT_ONCE - len(self._taken)
        if free:
            now = self._clock()
            async with self._relay.across_caisses() as tx:
                leased = await logout_store.lease(
                    tx,
                    now=now,
                    until=now + LEASE,
                    most=free,
                    of_one_host=OF_ONE_HOST,
                    but=[*self._taken.values()],
                )
            for delivery in leased:
                under_way = asyncio.create_task(_deliver(self._provider, self._relay, delivery, self._clock))
                self._taken[under_way] = delivery.id
        return bool(self._taken)

    async def one_freed(self, stop: asyncio.Event, seconds: float) -> None:
        """Until a place is free again, `stop`, or so many seconds at most."""
        told = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({told, *self._taken}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            told.cancel()
        self._let_go()

    async def all_freed(self) -> None:
        await asyncio.wait(self._taken)
        self._let_go()

    async def leave(self) -> None:
        """Let what is under way end, then give up: its leases end by themselves."""
        if self._taken:
            await asyncio.wait(self._taken, timeout=LAST_WORDS)
        for under_way in self._taken:
            under_way.cancel()
        await asyncio.gather(*self._taken, return_exceptions=True)

    def _let_go(self) -> None:
        self._taken = {task: of for task, of in self._taken.items() if not task.done()}


async def _deliver(provider: Provider, relay: Database, delivery: Delivery, clock: Clock) -> None:
    """One delivery, and what came of it. Raises nothing: a caisse at fault is no other's concern."""
    try:
        answer = LEFT if delivery.is_left else await _answer(provider, delivery, clock())
        async with relay.across_caisses() as tx:
            is_given_up = await _note(tx, delivery, answer, clock())
        _count(answer, is_given_up)
    except DatabaseUnavailable:
        # Nothing can be noted: the lease ends by itself.
        log.warning("logout.lease_left", client_id=delivery.client_id, caisse=delivery.caisse)
    except Exception:
        log.exception("logout.not_noted", client_id=delivery.client_id, caisse=delivery.caisse)


async def _answer(provider: Provider, delivery: Delivery, now: datetime) -> str | None:
    """`_send`'s answer. What is our own fault (a key that does not open, a row not understood) is one too: tried
    again, shown in the queue, given up in the end."""
    try:
        return await _send(provider, delivery, now)
    except DatabaseUnavailable:
        raise
    except Exception as error:
        log.exception("logout.not_written", client_id=delivery.client_id, caisse=delivery.caisse)
        return f"not written: {type(error).__name__}"


async def _note(tx: Tx, delivery: Delivery, answer: str | None, now: datetime) -> bool:
    """Whether it is given up."""
    if answer is None:
        await logout_store.delivered(tx, delivery, now)
        return False
    if delivery.attempts > len(WAITS):
        log.warning("logout.abandoned", client_id=delivery.client_id, caisse=delivery.caisse, answer=answer)
        await logout_store.abandon(tx, delivery, answer=answer, now=now)
        return True
    log.warning(
        "logout.delayed",
        client_id=delivery.client_id,
        caisse=delivery.caisse,
        answer=answer,
        tries=delivery.attempts,
    )
    again_at = now + timedelta(seconds=WAITS[delivery.attempts - 1])
    await logout_store.postpone(tx, delivery, answer=answer, again_at=again_at)
    return False


def _count(answer: str | None, is_given_up: bool) -> None:
    TOLD.labels("done" if answer is None else "left" if answer == LEFT else "refused").inc()
    if is_given_up:
        TOLD.labels("given_up").inc()


async def _send(provider: Provider, delivery: Delivery, now: datetime) -> str | None:
    """`None` when the client took it; else what it answered, for the queue's own record."""
    caisse = CaisseSlug(delivery.caisse)
    issuer = await provider.issuer(caisse)
    async with provider.db.transaction(caisse) as tx:
        client = await store.load_client(tx, delivery.client_id)
    if client is None or client.metadata.backchannel_logout_uri is None:
        return None
    token = logout_token(issuer, client, delivery, now, salt=provider.pairwise_salt)
    try:
        status = await provider.fetcher.post_form(
            client.metadata.backchannel_logout_uri, {"logout_token": token}, of=client.client_id
        )
    except FetchRefused as error:
        return str(error)
    return None if status in ACCEPTED else f"status {status}"


def logout_token(issuer: Issuer, client: Client, delivery: Delivery, now: datetime, *, salt: bytes) -> str:
    """§2.4: `sub`, `sid`, the event, no nonce. Signed as the client's ID tokens are (§2.6)."""
    issued_at = int(now.timestamp())
    claims: dict[str, Any] = {
        "iss": issuer.url,
        "aud": client.client_id,
        "sub": subject_for(client.metadata, delivery.person_id, caisse=issuer.caisse, salt=salt),
        "sid": sid_of(delivery.session_id),
        "iat": issued_at,
        "exp": issued_at + int(TOKEN_LASTS.total_seconds()),
        "jti": secrets.token_urlsafe(16),
        "events": {EVENT: {}},
    }
    return issuer.keys.sign(claims, typ="logout+jwt", algorithm=client.metadata.id_token_signed_response_alg)

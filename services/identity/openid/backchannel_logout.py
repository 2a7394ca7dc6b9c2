"""OpenID Connect Back-Channel Logout 1.0: every client of a session hears that it is over, at least once.

The queue is leased: a worker that dies loses its lease, not the message. Each
delivery has its own short deadline and runs beside the others, so a dead client
delays nobody.
"""

import asyncio
import secrets
from datetime import datetime, timedelta
from typing import Any

import structlog

from libs.common.database.pool import Database
from libs.common.database.transaction import DatabaseUnavailable
from libs.common.http.application import Clock
from libs.common.values.caisse_slug import CaisseSlug
from services.identity.openid import logout_store, store
from services.identity.openid.clients import Client
from services.identity.openid.guarded_fetcher import FetchRefused
from services.identity.openid.issuer import Issuer
from services.identity.openid.logout_store import Delivery
from services.identity.openid.provider import Provider
from services.identity.openid.subjects import subject_for
from services.identity.sign_in.session import sid_of

log = structlog.get_logger()

LEASE = timedelta(seconds=30)
AT_ONCE = 32
EVERY_SECONDS = 1.0
LOOKS_BACK = timedelta(hours=24)
WAITS = (5, 30, 120, 600, 3600, 3600 * 4, 3600 * 12)
"""Seconds before each new attempt; after the last, the client has had a day."""

EVENT = "http://schemas.openid.net/event/backchannel-logout"
ACCEPTED = frozenset({200, 204})


async def deliver_for_ever(provider: Provider, relay: Database, stop: asyncio.Event, clock: Clock) -> None:
    """The worker's duty. `relay` sees the queue of every caisse, `provider.db` one caisse at a time."""
    while not stop.is_set():
        try:
            busy = await deliver_due(provider, relay, clock())
        except DatabaseUnavailable:
            log.warning("logout.postponed")
            busy = False
        if not busy:
            try:
                await asyncio.wait_for(stop.wait(), EVERY_SECONDS)
            except TimeoutError:
                continue


async def deliver_due(provider: Provider, relay: Database, now: datetime) -> bool:
    """One round: fill the queue, lease what is due, deliver side by side. Whether there was anything."""
    async with relay.across_caisses() as tx:
        await logout_store.enqueue(tx, ended_after=now - LOOKS_BACK, now=now)
        due = await logout_store.lease(tx, now=now, until=now + LEASE, most=AT_ONCE)
    await asyncio.gather(*(_deliver(provider, relay, delivery, now) for delivery in due))
    return bool(due)


async def _deliver(provider: Provider, relay: Database, delivery: Delivery, now: datetime) -> None:
    answer = await _send(provider, delivery, now)
    async with relay.across_caisses() as tx:
        if answer is None:
            await logout_store.delivered(tx, delivery, now)
        elif delivery.attempts > len(WAITS):
            log.warning("logout.abandoned", client_id=delivery.client_id, answer=answer)
            await logout_store.abandon(tx, delivery, answer=answer, now=now)
        else:
            again_at = now + timedelta(seconds=WAITS[delivery.attempts - 1])
            await logout_store.postpone(tx, delivery, answer=answer, again_at=again_at)


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
            client.metadata.backchannel_logout_uri, {"logout_token": token}
        )
    except FetchRefused as error:
        return str(error)
    return None if status in ACCEPTED else f"status {status}"


def logout_token(issuer: Issuer, client: Client, delivery: Delivery, now: datetime, *, salt: bytes) -> str:
    """§2.4: `sub`, `sid`, the event, no nonce."""
    issued_at = int(now.timestamp())
    claims: dict[str, Any] = {
        "iss": issuer.url,
        "aud": client.client_id,
        "sub": subject_for(client.metadata, delivery.person_id, caisse=issuer.caisse, salt=salt),
        "sid": sid_of(delivery.session_id),
        "iat": issued_at,
        "exp": issued_at + 120,
        "jti": secrets.token_urlsafe(16),
        "events": {EVENT: {}},
    }
    return issuer.keys.sign(claims, typ="logout+jwt", algorithm=client.metadata.id_token_signed_response_alg)

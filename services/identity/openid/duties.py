"""What identity's worker does for the protocol: forget, rotate keys, tell clients of ended sessions, keep logos."""

import asyncio
from datetime import datetime, timedelta

import structlog

from libs.common.access.revocations import REMEMBERED
from libs.common.database.forgetting import forget_all
from libs.common.database.pool import Database
from libs.common.database.transaction import DatabaseUnavailable
from libs.common.http.application import Clock
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.runtime.duties import keep_duties
from libs.common.runtime.settings import Settings
from services.identity.caisses import store as caisses
from services.identity.floors import store as floors
from services.identity.openid import sweep_store
from services.identity.openid.buckets import RINGS, SEEN_JTI
from services.identity.openid.guarded_fetcher import GuardedFetcher
from services.identity.openid.logos.keep_logos import keep_logos_for_ever
from services.identity.openid.logout import store as logout_store
from services.identity.openid.logout.backchannel import deliver_for_ever
from services.identity.openid.provider import Provider
from services.identity.signing_keys.rotation import sweep_keys

log = structlog.get_logger()

SWEEP_EVERY = 300.0
REPLAYS_KNOWN_FOR = timedelta(hours=24)
FLOORS_KEPT = timedelta(seconds=REMEMBERED) + timedelta(minutes=1)


async def openid_duties(
    settings: Settings, keys: KeyEncryption, relay: Database, stop: asyncio.Event, clock: Clock
) -> None:
    """Until `stop`. Several workers at once do no harm."""
    db = await Database.open(settings.identity.dsn, name="identity-work", max_size=6)
    provider = Provider(db, settings, keys, GuardedFetcher.of(settings))
    try:
        await keep_duties(
            {
                "logout": lambda: deliver_for_ever(provider, relay, stop, clock),
                "logos": lambda: keep_logos_for_ever(provider.fetcher, relay, stop, clock),
                "openid_sweep": lambda: sweep_for_ever(db, relay, keys, stop, clock),
            },
            stop,
        )
    finally:
        await db.close()


async def sweep_for_ever(
    db: Database, relay: Database, keys: KeyEncryption, stop: asyncio.Event, clock: Clock
) -> None:
    while not stop.is_set():
        try:
            await sweep(db, relay, keys, clock())
        except DatabaseUnavailable:
            log.warning("openid.sweep_postponed")
        except Exception:
            # A bucket whose readers did not let go within half a second, most likely: its turn comes again.
            log.exception("openid.sweep_failed")
        try:
            await asyncio.wait_for(stop.wait(), SWEEP_EVERY)
        except TimeoutError:
            continue


async def sweep(db: Database, relay: Database, keys: KeyEncryption, now: datetime) -> None:
    """One round over the tables, then the keys of each caisse in its own transaction."""
    await empty_what_rests(relay, now)
    await empty_what_the_version_before_left(relay, now)
    async with relay.across_caisses() as tx:
        await sweep_store.forget_initial_tokens(tx, now)
        await floors.forget(tx, now - FLOORS_KEPT)
        every = await caisses.every(tx)
    await forget_all(relay, logout_store.forget_before, now - timedelta(days=7))
    for caisse in every:
        async with db.transaction(caisse.slug) as tx:
            await sweep_keys(tx, keys, now)


async def empty_what_rests(relay: Database, now: datetime) -> None:
    """A bucket a transaction: one that must wait for its readers keeps no other locked."""
    for table, ring in RINGS.items():
        async with relay.across_caisses() as tx:
            await sweep_store.empty_at_rest(tx, table, ring.at_rest(now))
    async with relay.across_caisses() as tx:
        await sweep_store.empty_seen_jti(tx, SEEN_JTI.at_rest(now))


async def empty_what_the_version_before_left(relay: Database, now: datetime) -> None:
    """Tokens, then grants: each bucket stays whole until nothing in it can be presented, or replayed, any more."""
    async with relay.across_caisses() as tx:
        await sweep_store.empty_former(tx, "refresh_token", now - REPLAYS_KNOWN_FOR)
    async with relay.across_caisses() as tx:
        await sweep_store.empty_former(tx, "authorization_grant", now - REPLAYS_KNOWN_FOR)

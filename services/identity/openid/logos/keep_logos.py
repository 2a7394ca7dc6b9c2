"""Clients' logos: read by the worker, kept here, shown from our own origin.

Whoever registers a client waits for nothing, and neither does the consent page: it shows the logo
we have, or none. A dead address is tried again less and less often, and what we have of it stays;
an address that answers something else than a small image loses what it had.
"""

import asyncio
from datetime import datetime, timedelta
from hashlib import sha256

import structlog

from libs.common.database.pool import Database
from libs.common.database.transaction import DatabaseUnavailable
from libs.common.http.application import Clock
from services.identity.openid.guarded_fetcher import FetchRefused, GuardedFetcher
from services.identity.openid.logos import store as logo_store
from services.identity.openid.logos.image import DECLARED, NotALogo, as_shown
from services.identity.openid.logos.store import WantedLogo

log = structlog.get_logger()

EVERY_SECONDS = 2.0
AT_ONCE = 8
"""Addresses read side by side, each for eight seconds at most: the slowest hold nobody else's turn longer."""
LEASE = timedelta(seconds=60)
FRESH_FOR = timedelta(days=7)
WAITS = (
    timedelta(minutes=1),
    timedelta(minutes=15),
    timedelta(hours=2),
    timedelta(hours=12),
    timedelta(days=1),
)
"""After each failure in a row; the last one repeats."""
ACCEPT = ", ".join(sorted(DECLARED))


async def keep_logos_for_ever(
    fetcher: GuardedFetcher, relay: Database, stop: asyncio.Event, clock: Clock
) -> None:
    """The worker's duty, until `stop`. `relay` sees the clients of every caisse."""
    while not stop.is_set():
        try:
            busy = await read_due(fetcher, relay, clock())
        except DatabaseUnavailable:
            log.warning("logos.postponed")
            busy = False
        except Exception:
            # A logo is no reason for the worker's other duties to stop; what was leased comes due again.
            log.exception("logos.failed")
            busy = False
        if not busy:
            try:
                await asyncio.wait_for(stop.wait(), EVERY_SECONDS)
            except TimeoutError:
                continue


async def read_due(fetcher: GuardedFetcher, relay: Database, now: datetime) -> bool:
    """One round: follow the clients, lease what is due, read it side by side. Whether there was anything."""
    async with relay.across_caisses() as tx:
        await logo_store.forget_what_no_client_names(tx)
        await logo_store.follow_clients(tx, now)
        due = await logo_store.lease(tx, now=now, lasts=LEASE, most=AT_ONCE)
    await asyncio.gather(*(_read(fetcher, relay, wanted, now) for wanted in due))
    return bool(due)


async def _read(fetcher: GuardedFetcher, relay: Database, wanted: WantedLogo, now: datetime) -> None:
    try:
        body, content_type = await fetcher.get(wanted.uri, of=wanted.client_id, accept=ACCEPT)
        # A thread: decoding would hold the worker's other duties for up to 150 ms.
        logo = await asyncio.to_thread(as_shown, body, content_type)
    except (FetchRefused, NotALogo) as error:
        again_at = now + WAITS[min(wanted.failures, len(WAITS) - 1)]
        log.info("logo.refused", client_id=wanted.client_id, answer=str(error))
        async with relay.across_caisses() as tx:
            await logo_store.postpone(
                tx, wanted, answer=str(error), drop=isinstance(error, NotALogo), again_at=again_at
            )
        return
    async with relay.across_caisses() as tx:
        await logo_store.keep(tx, wanted, name=named(logo.png), logo=logo, again_at=now + FRESH_FOR)


def named(image: bytes) -> str:
    """The stable id of an image: half of its SHA-256, in hexadecimal."""
    return sha256(image).hexdigest()[:32]

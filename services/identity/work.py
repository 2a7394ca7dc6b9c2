"""Identity's background work: the relay of ordinary facts, the mail's courier, the sweeps."""

import asyncio
from contextlib import AsyncExitStack
from datetime import datetime, timedelta

import structlog

from libs.common.access.proof_memory import forget_old_proofs_for_ever
from libs.common.bus.connection import Bus
from libs.common.bus.relay import relay
from libs.common.database.forgetting import Forget, forget_all
from libs.common.database.pool import Database
from libs.common.http.application import utc_now
from libs.common.keys.root_key import open_key_encryption
from libs.common.runtime.duties import keep_duties
from libs.common.runtime.settings import Settings
from services.identity.delegation import store as mandates
from services.identity.delegation.duties import delegation_duties
from services.identity.first_connection import store as first_connections
from services.identity.letters import store as letters
from services.identity.letters.sweep import ATTEMPTS_KEPT, sweep_letters
from services.identity.mail import store as mails
from services.identity.mail.courier import KEEP, count_what_waits, run_courier
from services.identity.mail.enqueue import Mail
from services.identity.openid import consent_store as consents
from services.identity.openid.duties import openid_duties
from services.identity.sign_in import session_store
from services.identity.sign_in import store as sign_ins
from services.identity.sign_in.forgotten_password import store as resets
from services.identity.signing_keys.root_key_proof import prove_root_key

log = structlog.get_logger()

SWEEP_EVERY = 600.0
"""Seconds between two rounds of forgetting what has served."""


async def work(settings: Settings, stop: asyncio.Event) -> None:
    """Until `stop`. NATS or the mail server away is waited for. Raises `DatabaseUnavailable` when PostgreSQL is not
    there at first."""
    settings.require("identity.dsn", "identity.relay_dsn", "mail.host")
    keys = open_key_encryption(settings)
    async with AsyncExitStack() as opened:
        sweeps = await Database.open(settings.identity.relay_dsn, name="identity-relay", max_size=8)
        opened.push_async_callback(sweeps.close)
        db = await Database.open(settings.identity.dsn, name="identity-work", max_size=4)
        opened.push_async_callback(db.close)
        await prove_root_key(db, keys)
        bus = Bus.of(settings, "identity", name="identity-work")
        opened.push_async_callback(bus.close)
        bus.start()
        await keep_duties(
            {
                "relay": lambda: relay(bus, sweeps, "identity", stop),
                "courier": lambda: run_courier(sweeps, Mail(keys), settings.mail, utc_now, stop),
                "mail_count": lambda: count_what_waits(sweeps, stop),
                "proofs": lambda: forget_old_proofs_for_ever(sweeps, stop),
                "sweep": lambda: sweep_for_ever(sweeps, stop),
                "openid": lambda: openid_duties(settings, keys, sweeps, stop, utc_now),
                "delegation": lambda: delegation_duties(bus, db, stop, utc_now),
            },
            stop,
        )


SERVED: tuple[tuple[Forget, timedelta], ...] = (
    (sign_ins.forget_idle_throttles, timedelta()),
    (sign_ins.forget_old_proofs, timedelta()),
    (sign_ins.forget_old_proposals, timedelta()),
    (resets.forget_old_resets, timedelta()),
    (session_store.forget_old_sessions, timedelta(days=30)),
    (sign_ins.forget_old_devices, timedelta(days=400)),
    (first_connections.forget_before, timedelta()),
    (mails.forget_before, KEEP),
    (letters.forget_attempts, ATTEMPTS_KEPT),
    (consents.forget_over, timedelta(days=5 * 365)),
    (mandates.forget_commands, timedelta(days=90)),
)
"""What people left behind and the law does not ask us to keep, and how long after its end it stays.

docs/reference/what-is-kept.md has every table.
"""


async def forget_what_has_served(sweeps: Database, now: datetime) -> None:
    """A table a turn: one whose sweep fails is tried at the next round, and keeps no other from being swept."""
    for forget, kept in SERVED:
        try:
            await forget_all(sweeps, forget, now - kept)
        except Exception:
            log.exception("identity.sweep_failed", table=forget.__name__)
    async with sweeps.across_caisses() as tx:
        await sweep_letters(tx, now)


async def sweep_for_ever(sweeps: Database, stop: asyncio.Event) -> None:
    """A round now and then; a round that fails is tried at the next."""
    while not stop.is_set():
        try:
            await forget_what_has_served(sweeps, utc_now())
        except Exception:
            log.exception("identity.sweep_failed")
        try:
            await asyncio.wait_for(stop.wait(), SWEEP_EVERY)
        except TimeoutError:
            continue

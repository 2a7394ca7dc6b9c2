"""Who may try a password now: strangers wait together, the owner's browser never waits for them.

Nobody is locked out. Tries from browsers that never signed this person in share
one allowance; a known device has its own; a mailed link is always open.
"""

import hashlib
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from libs.common.database.transaction import Tx
from libs.common.refusals import DomainError
from services.identity.sign_in import store


class Throttled(DomainError):
    """Too many tries of this kind: wait, or use the mailed link."""


class Allowance(NamedTuple):
    """One pass every so often, `burst` of them at once after a rest."""

    every: timedelta
    burst: int

    @property
    def at_once(self) -> timedelta:
        """How far ahead of its steady pace the bucket may run."""
        return self.every * (self.burst - 1)


PER_STRANGE_ACCOUNT = Allowance(timedelta(seconds=30), 10)
PER_DEVICE = Allowance(timedelta(seconds=15), 20)
PER_NETWORK = Allowance(timedelta(milliseconds=200), 300)
PER_LINK = Allowance(timedelta(minutes=2), 10)
PER_RESET = Allowance(timedelta(minutes=10), 3)
PER_SECOND_STEP = Allowance(timedelta(minutes=10), 20)
"""Tries of the second step by strangers who know the password: 144 a day of a million values, three at a time good."""


async def spend(tx: Tx, kind: str, subject: str, allowance: Allowance, *, now: datetime) -> None:
    """Take one pass from a bucket. Raises `Throttled` when it is empty."""
    key = bucket_of(kind, subject)
    if not await store.let_through(tx, key, now=now, every=allowance.every, burst=allowance.at_once):
        raise Throttled


def bucket_of(kind: str, subject: str) -> bytes:
    return hashlib.sha256(f"{kind}:{subject}".encode()).digest()


async def spend_sign_in(
    tx: Tx, *, email_key: str, device_id: UUID | None, network: str, now: datetime
) -> None:
    """One password try, judged before the slow hash. Raises `Throttled`, for known and unknown addresses alike."""
    if device_id is not None:
        await spend(tx, "device", device_id.hex, PER_DEVICE, now=now)
        return
    await spend(tx, "network", network, PER_NETWORK, now=now)
    await spend(tx, "account", email_key, PER_STRANGE_ACCOUNT, now=now)


async def spend_second_step(tx: Tx, person_id: UUID, device_id: UUID | None, *, now: datetime) -> None:
    """One try of a second step, counted over every password typed. Raises `Throttled`."""
    if device_id is not None:
        await spend(tx, "second-step-device", device_id.hex, PER_DEVICE, now=now)
        return
    await spend(tx, "second-step", person_id.hex, PER_SECOND_STEP, now=now)

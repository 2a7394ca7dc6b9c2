"""A link to this run's NATS for each service, and facts to send over it."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from libs.common.bus.connection import Bus
from libs.common.database import outbox
from libs.common.database.pool import Database
from libs.common.events.envelope import Event
from libs.common.events.identity import AccountActivated, FloorRaised
from libs.common.runtime.settings import Settings
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.identifiers import new_id
from tests.relays import identity_relays

CAISSE = CaisseSlug("mediterranee")


@contextlib.asynccontextmanager
async def linked(settings: Settings, service: str) -> AsyncGenerator[Bus, None]:
    bus = Bus.of(settings, service)
    bus.start()
    try:
        assert await bus.wait_connected(5)
        yield bus
    finally:
        await bus.close()


@pytest.fixture
async def identity_bus(settings: Settings) -> AsyncIterator[Bus]:
    async with linked(settings, "identity") as bus:
        yield bus


@pytest.fixture
async def adherent_bus(settings: Settings) -> AsyncIterator[Bus]:
    async with linked(settings, "adherent") as bus:
        yield bus


@contextlib.asynccontextmanager
async def relaying(bus: Bus, db: Database, *, round_seconds: float = 0.2) -> AsyncGenerator[None, None]:
    """Identity's relays at work while the block runs."""
    stop = asyncio.Event()
    task = asyncio.create_task(identity_relays(bus, db, stop, round_seconds=round_seconds))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(task, 5)


def an_account() -> AccountActivated:
    return AccountActivated(
        event_id=new_id(), at=datetime.now(UTC), account_id=uuid4(), person_id=uuid4(), adherent_id=uuid4()
    )


def a_floor(kind: str = "cabinet", key: str = "cab_X", *, version: int | None = None) -> FloorRaised:
    now = datetime.now(UTC)
    return FloorRaised(event_id=new_id(), at=now, kind=kind, key=key, version=version, not_before=now)


async def record(db: Database, *events: Event, caisse: CaisseSlug = CAISSE) -> None:
    async with db.transaction(caisse) as tx:
        for event in events:
            await outbox.record(tx, event)


async def unsent(relay_db: Database) -> int:
    async with relay_db.across_caisses() as tx:
        return (await outbox.depth(tx)).unsent


async def until(claim: Callable[[], Awaitable[bool]], *, within: timedelta = timedelta(seconds=10)) -> None:
    """Wait for `claim` to hold; the test fails when it does not in time."""
    async with asyncio.timeout(within.total_seconds()):
        while not await claim():  # noqa: ASYNC110 - what is waited for happens in other processes
            await asyncio.sleep(0.02)

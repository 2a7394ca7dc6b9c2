"""The workers hear identity's facts over NATS: members become files, a caisse gets its seal."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime

import pytest

from libs.common.bus.connection import Bus
from libs.common.bus.relay import relay
from libs.common.database import outbox
from libs.common.database.pool import Database
from libs.common.events.identity import CaisseAdded
from libs.common.runtime.settings import Settings
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.identifiers import new_id
from services.adherent.member_file.store import find_member
from services.adherent.work import work as adherent_work
from services.documents.caisses.store import find_caisse
from services.documents.seals.store import find_signing_seal
from services.documents.work import work as documents_work
from tests.adherent.members import a_member

NEW = CaisseSlug("nouvelle-caisse")


@pytest.fixture
async def identity_tells(settings: Settings, identity_relay: Database) -> AsyncIterator[None]:
    """Identity's relay, at work."""
    stop = asyncio.Event()
    bus = Bus.of(settings, "identity")
    bus.start()
    relaying = asyncio.create_task(relay(bus, identity_relay, "identity", stop))
    yield
    stop.set()
    await relaying
    await bus.close()


async def holds(condition: Callable[[], Awaitable[object]]) -> None:
    """Returns once the condition holds; a fact crosses three processes in the meantime."""
    async with asyncio.timeout(30):
        while not await condition():  # noqa: ASYNC110 - the event is in PostgreSQL
            await asyncio.sleep(0.05)


async def test_a_member_told_by_identity_is_filed(
    settings: Settings, identity_db: Database, adherent_db: Database, identity_tells: None
) -> None:
    member = a_member(number="NATS-1")
    async with identity_db.transaction(NEW) as tx:
        await outbox.record(tx, member)
    stop = asyncio.Event()
    working = asyncio.create_task(adherent_work(settings, stop))

    async def filed() -> object:
        async with adherent_db.transaction(NEW) as tx:
            return await find_member(tx, member.adherent_id)

    await holds(filed)
    stop.set()
    await working


async def test_a_caisse_told_by_identity_has_its_seal(
    settings: Settings, identity_db: Database, documents_db: Database, identity_tells: None
) -> None:
    told = CaisseAdded(
        event_id=new_id(),
        at=datetime.now(UTC),
        name="Caisse nouvelle",
        siren="775690121",
        address=[],
        phone="",
        email="",
        website="",
        colour="#7a1f2b",
    )
    async with identity_db.transaction(NEW) as tx:
        await outbox.record(tx, told)
    stop = asyncio.Event()
    working = asyncio.create_task(documents_work(settings, stop))

    async def sealed() -> object:
        async with documents_db.transaction(NEW) as tx:
            return await find_signing_seal(tx, datetime.now(UTC))

    await holds(sealed)
    async with documents_db.transaction(NEW) as tx:
        caisse = await find_caisse(tx, NEW)
    assert caisse is not None
    assert (caisse.name, caisse.colour) == ("Caisse nouvelle", "7a1f2b")
    stop.set()
    await working

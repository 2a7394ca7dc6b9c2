"""What other services tell of a mandate, over the real broker, and what the clocks write down."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import date

import msgspec

from libs.common.bus.connection import Bus
from libs.common.bus.relay import relay
from libs.common.database import outbox
from libs.common.database.pool import Database
from libs.common.events.adherent import ActNoted
from libs.common.events.documents import ActedBy, AttestationIssued
from libs.common.runtime.settings import Settings
from libs.common.values.identifiers import new_id
from services.identity.delegation import reading_store, store
from services.identity.delegation.duties import delegation_duties, settle_everywhere
from services.identity.delegation.ledger import act_noted, attestation_issued
from services.identity.delegation.mandate import Mandate
from services.identity.delegation.shown import told_acts
from tests.conftest import HeldClock
from tests.identity.cabinets.software import a_machine
from tests.identity.delegation.parties import ELSEWHERE, HERE, Scene, a_scene, an_active_mandate, an_offer


@asynccontextmanager
async def at_work(
    settings: Settings, identity_db: Database, service: str, its_relay: Database, clock: HeldClock
) -> AsyncGenerator[None, None]:
    """The relay of another service and identity's duties, until the block ends."""
    stop = asyncio.Event()
    theirs, ours = Bus.of(settings, service), Bus.of(settings, "identity")
    theirs.start()
    ours.start()
    duties = [
        asyncio.create_task(relay(theirs, its_relay, service, stop)),
        asyncio.create_task(delegation_duties(ours, identity_db, stop, clock)),
    ]
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(asyncio.gather(*duties), 10)
        await theirs.close()
        await ours.close()


def issued(scene: Scene, mandate: Mandate, clock: HeldClock) -> AttestationIssued:
    return AttestationIssued(
        event_id=new_id(),
        at=clock(),
        attestation_id=new_id(),
        number="A-2026-000017",
        kind="up_to_date",
        adherent_id=scene.adherent_id,
        as_of=date(2026, 11, 23),
        by=ActedBy(
            client_id="portal",
            person_id=scene.member,
            cabinet_id=scene.cabinet_id,
            mandate_id=mandate.id,
            mandate_version=mandate.version,
        ),
    )


async def test_the_firm_reads_which_colleague_did_what(
    settings: Settings,
    identity_db: Database,
    documents_db: Database,
    documents_relay: Database,
    clock: HeldClock,
) -> None:
    scene = await a_scene(identity_db, clock())
    mandate = await an_active_mandate(identity_db, scene, clock())
    fact = issued(scene, mandate, clock)
    async with at_work(settings, identity_db, "documents", documents_relay, clock):
        async with documents_db.transaction(HERE) as tx:
            await outbox.record(tx, fact)
        acts = await acts_told(identity_db, mandate)

    assert [(act.person_name, act.action, act.object) for act in acts] == [
        ("Hugo Petit", "attestation.issued", "n° A-2026-000017")
    ]


async def test_the_firm_reads_who_looked_at_its_file(
    settings: Settings,
    identity_db: Database,
    adherent_db: Database,
    adherent_relay: Database,
    clock: HeldClock,
) -> None:
    scene = await a_scene(identity_db, clock())
    mandate = await an_active_mandate(identity_db, scene, clock())
    fact = ActNoted(
        event_id=new_id(),
        at=clock(),
        action="standing.read",
        adherent_id=scene.adherent_id,
        person_id=scene.member,
        cabinet_id=scene.cabinet_id,
        mandate_id=mandate.id,
        mandate_version=mandate.version,
    )
    async with at_work(settings, identity_db, "adherent", adherent_relay, clock):
        async with adherent_db.transaction(HERE) as tx:
            await outbox.record(tx, fact)
        acts = await acts_told(identity_db, mandate)

    assert [(line["who"], line["title"]) for line in told_acts(acts)] == [
        ("Hugo Petit", "Situation consultée")
    ]


async def test_the_firm_reads_which_machine_did_what(identity_db: Database, clock: HeldClock) -> None:
    """By the client that the facts name; another cabinet's machine is never taken for it."""
    scene = await a_scene(identity_db, clock())
    mandate = await an_active_mandate(identity_db, scene, clock(), machine=True)
    machine = await a_machine(identity_db, scene, clock(), "Paie & Co")
    other = await a_machine(identity_db, await a_scene(identity_db, clock()), clock(), "Autre")
    async with identity_db.transaction(HERE) as tx:
        for client_id in (machine.client_id, other.client_id, "unknown", None):
            read = ActNoted(
                event_id=new_id(), at=clock(), action="standing.read", adherent_id=scene.adherent_id,
                client_id=client_id, cabinet_id=scene.cabinet_id, mandate_id=mandate.id,
                mandate_version=mandate.version,
            )  # fmt: skip
            await act_noted(tx, read)
            clock.forward(seconds=1)
        fact = issued(scene, mandate, clock)
        by = msgspec.structs.replace(fact.by, person_id=None, client_id=machine.client_id)
        await attestation_issued(tx, msgspec.structs.replace(fact, by=by))

    assert [line["who"] for line in told_acts(await acts_of(identity_db, mandate))] == [
        "Paie & Co (logiciel du cabinet)",
        *["Logiciel du cabinet"] * 3,
        "Paie & Co (logiciel du cabinet)",
    ]


async def acts_told(db: Database, mandate: Mandate) -> list[reading_store.ActLine]:
    for _ in range(400):
        if acts := await acts_of(db, mandate):
            return acts
        await asyncio.sleep(0.05)
    return []


async def acts_of(db: Database, mandate: Mandate) -> list[reading_store.ActLine]:
    async with db.transaction(HERE) as tx:
        return await reading_store.acts(tx, mandate.id, 10)


async def test_the_sweeper_writes_down_what_is_over_in_every_caisse(
    identity_db: Database, clock: HeldClock
) -> None:
    over: list[tuple[Scene, Mandate, str]] = []
    for caisse in (HERE, ELSEWHERE):
        scene = await a_scene(identity_db, clock(), caisse=caisse)
        over.append((scene, await an_active_mandate(identity_db, scene, clock()), "ended"))
        over.append((scene, await an_offer(identity_db, scene, clock(), "leave"), "expired"))
    later = clock.forward(days=400)

    assert await settle_everywhere(identity_db, later) >= 4
    assert await settle_everywhere(identity_db, later) == 0
    for scene, mandate, state in over:
        async with identity_db.transaction(scene.caisse) as tx:
            found = await store.find(tx, mandate.id)
        assert found is not None and found.state == state

"""Whoever holds several mandates takes them in the order of their ids: nobody waits for somebody who waits for him."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from libs.common.database.pool import Database
from libs.common.database.transaction import Tx
from libs.common.refusals import NotFound
from libs.common.runtime.settings import Settings
from services.identity.delegation import store
from services.identity.delegation.accept import accept_offer
from services.identity.delegation.record_former import record_former
from services.identity.delegation.renew_former import renew_former
from services.identity.delegation.request import request
from services.identity.delegation.void import void_of_adherents, void_of_cabinet
from tests.conftest import HeldClock
from tests.gate import GATE, gate, somebody_waits
from tests.identity.delegation.parties import (
    HERE,
    Scene,
    a_cabinet,
    a_firm,
    a_key,
    a_scene,
    an_active_mandate,
    an_offer,
    current,
    notices,
    terms,
)


async def somebody_waits_for_a_row(owner: Any) -> None:
    async with asyncio.timeout(30):
        while not await owner.fetchval(  # noqa: ASYNC110 - what is waited for is the database's
            "SELECT true FROM pg_locks WHERE locktype <> 'advisory' AND NOT granted"
        ):
            await asyncio.sleep(0.02)


async def one_behind_the_other(owner: Any, first: Awaitable[Any], second: Awaitable[Any]) -> None:
    """`first` stands at the gate with what it holds; `second` takes what it can; then the gate opens."""
    begun = asyncio.ensure_future(first)
    await somebody_waits(owner)
    behind = asyncio.ensure_future(second)
    await somebody_waits_for_a_row(owner)
    await owner.execute("SELECT pg_advisory_unlock($1)", GATE)
    await asyncio.gather(begun, behind)


async def test_a_renewed_authorisation_is_accepted_while_its_firm_is_struck_off(
    identity_db: Database, settings: Settings, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock())
    # The former authorisation has the older id, and takes the place of a principal that came after it.
    async with identity_db.transaction(HERE) as tx:
        former_id = await record_former(
            tx,
            scene.adherent_id,
            scene.cabinet_id,
            reference="A1",
            label="",
            family="contributions",
            now=clock(),
        )
        assert former_id is not None
        rival, owner_of_rival, member = await a_cabinet(tx, clock())
    principal = await an_active_mandate(
        identity_db, scene._replace(cabinet_id=rival, owner=owner_of_rival, member=member), clock()
    )
    async with identity_db.transaction(HERE) as tx:
        await renew_former(tx, scene.firm, former_id, key=a_key(), now=clock(), notices=notices())

    async def accepts() -> None:
        async with identity_db.transaction(HERE) as tx:
            await accept_offer(tx, scene.cabinet, former_id, key=a_key(), now=clock(), notices=notices())

    async def is_struck_off() -> None:
        async with identity_db.transaction(HERE) as tx:
            await void_of_adherents(tx, [scene.adherent_id], "adherent_struck_off", clock())

    async with gate(settings.identity.owner_dsn, "mandate", when="NEW.state = 'replaced'") as owner:
        await one_behind_the_other(owner, accepts(), is_struck_off())

    assert (await current(identity_db, scene, principal)).state == "replaced"
    async with identity_db.transaction(HERE) as tx:
        renewed = await store.find(tx, former_id)
    assert renewed is not None
    assert renewed.state == "void"


async def test_two_firms_and_their_cabinet_are_struck_off_at_once(
    identity_db: Database, settings: Settings, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock())
    first = await an_offer(identity_db, scene, clock())
    async with identity_db.transaction(HERE) as tx:
        adherent_id, establishment_id, administrator = await a_firm(tx, clock())
    other = scene._replace(
        adherent_id=adherent_id, establishment_id=establishment_id, administrator=administrator
    )
    second = await an_offer(identity_db, other, clock())

    async def firms() -> None:
        async with identity_db.transaction(HERE) as tx:
            await void_of_adherents(
                tx, [other.adherent_id, scene.adherent_id], "adherent_struck_off", clock()
            )

    async def cabinet() -> None:
        async with identity_db.transaction(HERE) as tx:
            await void_of_cabinet(tx, scene.cabinet_id, "cabinet_struck_off", clock())

    async with gate(settings.identity.owner_dsn, "mandate", when="NEW.state = 'void'") as owner:
        await one_behind_the_other(owner, firms(), cabinet())

    assert {(await current(identity_db, scene, mandate)).state for mandate in (first, second)} == {"void"}


async def struck_off(tx: Tx, scene: Scene, clock: HeldClock) -> None:
    """As an import does: the file first, then what hangs on it."""
    await tx.execute("UPDATE adherent SET state = 'struck_off' WHERE id = $1", scene.adherent_id)
    await void_of_adherents(tx, [scene.adherent_id], "adherent_struck_off", clock())


async def offers(db: Database, scene: Scene, clock: HeldClock) -> str:
    try:
        return (await an_offer(db, scene, clock())).state
    except NotFound:
        return "refused"


async def asks(db: Database, scene: Scene, clock: HeldClock) -> str:
    try:
        async with db.transaction(HERE) as tx:
            receipt = await request(
                tx, scene.cabinet, scene.adherent_id, terms(clock()), key=a_key(), now=clock()
            )
        return receipt.mandate.state
    except NotFound:
        return "refused"


@pytest.mark.parametrize("proposes", [offers, asks])
async def test_nothing_is_proposed_of_a_firm_that_is_being_struck_off(
    identity_db: Database,
    settings: Settings,
    clock: HeldClock,
    proposes: Callable[[Database, Scene, HeldClock], Awaitable[str]],
) -> None:
    scene = await a_scene(identity_db, clock())
    owner = await asyncpg.connect(settings.identity.owner_dsn)
    try:
        async with identity_db.transaction(HERE) as tx:
            await struck_off(tx, scene, clock)
            proposal = asyncio.ensure_future(proposes(identity_db, scene, clock))
            await somebody_waits_for_a_row(owner)
    finally:
        await owner.close()

    assert await proposal == "refused"
    async with identity_db.transaction(HERE) as tx:
        assert await store.live_of_adherents(tx, [scene.adherent_id]) == []


@pytest.mark.parametrize("proposes", [offers, asks])
async def test_what_was_proposed_just_before_ends_with_the_firm(
    identity_db: Database,
    settings: Settings,
    clock: HeldClock,
    proposes: Callable[[Database, Scene, HeldClock], Awaitable[str]],
) -> None:
    scene = await a_scene(identity_db, clock())

    async def leaves() -> None:
        async with identity_db.transaction(HERE) as tx:
            await struck_off(tx, scene, clock)

    async with gate(
        settings.identity.owner_dsn, "mandate", when="NEW.state IN ('offered', 'requested')"
    ) as owner:
        await one_behind_the_other(owner, proposes(identity_db, scene, clock), leaves())

    async with identity_db.transaction(HERE) as tx:
        assert await store.live_of_adherents(tx, [scene.adherent_id]) == []
        assert await tx.fetchval("SELECT count(*) FROM mandate WHERE state = 'void'") >= 1

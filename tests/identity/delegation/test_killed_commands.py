"""Offer, accept and revoke cut short at each statement, or at each write: all of it stays, or none, and once."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from uuid import UUID

import asyncpg
import pytest

from libs.common.database.pool import Database
from libs.common.runtime.settings import Settings
from services.identity.delegation import store
from services.identity.delegation.accept import accept_offer
from services.identity.delegation.offer import offer
from services.identity.delegation.once import Receipt
from services.identity.delegation.revoke import revoke
from tests.conftest import HeldClock
from tests.identity import killed
from tests.identity.delegation.parties import (
    HERE,
    Scene,
    a_cabinet,
    a_key,
    a_scene,
    an_active_mandate,
    an_offer,
    facts,
    notices,
    terms,
)
from tests.identity.first_connection.test_killed_activation import failing
from tests.identity.killed import killed_everywhere, rows_of

TABLES = ("mandate", "mandate_version", "mandate_command", "journal", "outbox", "mail_queue")

Act = Callable[[Database], Awaitable[Receipt]]


async def offering(db: Database, scene: Scene, now: datetime) -> Act:
    """Both families by one gesture."""
    key = a_key()

    async def act(db: Database) -> Receipt:
        async with db.transaction(HERE) as tx:
            return await offer(
                tx, scene.firm, scene.cabinet_id, terms(now, "full"), key=key, now=now, notices=notices()
            )

    return act


async def accepting(db: Database, scene: Scene, now: datetime) -> Act:
    """Another cabinet is in force, and is replaced by the same acceptance."""
    async with db.transaction(HERE) as tx:
        former, owner, _ = await a_cabinet(tx, now)
    await an_active_mandate(db, scene._replace(cabinet_id=former, owner=owner), now)
    offered, key = await an_offer(db, scene, now), a_key()

    async def act(db: Database) -> Receipt:
        async with db.transaction(HERE) as tx:
            return await accept_offer(tx, scene.cabinet, offered.id, key=key, now=now, notices=notices())

    return act


async def revoking(db: Database, scene: Scene, now: datetime) -> Act:
    active, key = await an_active_mandate(db, scene, now), a_key()

    async def act(db: Database) -> Receipt:
        async with db.transaction(HERE) as tx:
            return await revoke(tx, scene.firm, active.id, key=key, now=now, notices=notices())

    return act


COMMANDS = {"offer": offering, "accept": accepting, "revoke": revoking}
TOLD = {
    "offer": [["mandate.offered.v1"], ["mandate.offered.v1"]],
    "accept": [["mandate.offered.v1", "mandate.activated.v1"]],
    "revoke": [["mandate.offered.v1", "mandate.activated.v1", "mandate.revoked.v1"]],
}


async def told(db: Database, receipt: Receipt) -> list[list[str]]:
    return [await facts(db, HERE, mandate.id) for mandate in receipt.mandates]


@pytest.mark.parametrize("command", COMMANDS)
async def test_killed_before_any_statement_nothing_stays_and_asking_again_is_enough(
    identity_db: Database, clock: HeldClock, command: str
) -> None:
    async def scene() -> killed.Scene:
        return killed.Scene(
            HERE, await COMMANDS[command](identity_db, await a_scene(identity_db, clock()), clock())
        )

    assert await killed_everywhere(identity_db, scene, TABLES) > 8


@pytest.mark.parametrize("when", ["BEFORE", "AFTER"])
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("command", COMMANDS)
async def test_whatever_write_fails_nothing_stays_and_the_second_try_is_the_only_one(
    identity_db: Database, settings: Settings, clock: HeldClock, command: str, table: str, when: str
) -> None:
    act = await COMMANDS[command](identity_db, await a_scene(identity_db, clock()), clock())
    before = await rows_of(identity_db, HERE, TABLES)
    async with failing(settings.identity.owner_dsn, table, when):
        with pytest.raises(asyncpg.RaiseError):
            await act(identity_db)
        assert await rows_of(identity_db, HERE, TABLES) == before

    receipt = await act(identity_db)
    assert await told(identity_db, receipt) == TOLD[command]


@pytest.mark.parametrize("command", COMMANDS)
async def test_done_but_the_answer_was_lost_the_second_try_answers_the_first(
    identity_db: Database, clock: HeldClock, command: str
) -> None:
    act = await COMMANDS[command](identity_db, await a_scene(identity_db, clock()), clock())
    first = await act(identity_db)
    after = await rows_of(identity_db, HERE, TABLES)
    again = await act(identity_db)

    assert again.mandates == first.mandates
    assert await rows_of(identity_db, HERE, TABLES) == after
    assert await told(identity_db, again) == TOLD[command]
    assert [await state_of(identity_db, one.id) for one in first.replaced] == ["replaced"] * len(
        first.replaced
    )


async def state_of(db: Database, mandate_id: UUID) -> str | None:
    async with db.transaction(HERE) as tx:
        found = await store.find(tx, mandate_id)
    return found and found.state

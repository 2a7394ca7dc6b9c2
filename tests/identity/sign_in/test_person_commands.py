"""`espace person show | suspend | restore`, as an operator types them."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest
from click.testing import CliRunner, Result

from libs.common.database.journal import THE_SYSTEM
from libs.common.database.pool import Database
from libs.common.runtime.settings import Settings, to_environment
from libs.common.values.identifiers import public_id
from services.identity.sign_in.commands import person
from services.identity.sign_in.suspend import restore_everywhere, suspend_everywhere
from tests.conftest import HeldClock
from tests.identity.delegation.parties import ELSEWHERE, HERE, Scene, a_caisse, a_scene

Type = Callable[..., Awaitable[Result]]
FLOORS = """
    SELECT count(*) FROM outbox WHERE subject LIKE '%.authz.%' AND convert_from(body, 'UTF8') LIKE '%' || $1 || '%'
"""
NOTED = "SELECT action, details->>'reason' FROM journal WHERE subject_kind = 'person' AND subject_id = $1 ORDER BY at"


@pytest.fixture
def typed(settings: Settings) -> Type:
    """What the command answers; its loop is its own, so it runs beside ours."""

    async def run(*words: str) -> Result:
        environment = to_environment(settings)
        return await asyncio.to_thread(CliRunner().invoke, person, [*words], env=environment)

    return run


@pytest.fixture
async def scene(identity_db: Database, clock: HeldClock) -> Scene:
    await a_caisse(identity_db, ELSEWHERE, clock())
    return await a_scene(identity_db, clock())


async def email_of(db: Database, scene: Scene) -> str:
    async with db.across_caisses() as tx:
        return await tx.fetchval("SELECT email FROM person WHERE id = $1", scene.member)


async def test_a_suspension_is_said_in_every_caisse_and_a_person_restored(
    typed: Type, scene: Scene, identity_db: Database
) -> None:
    email, name = await email_of(identity_db, scene), public_id("per", scene.member)
    stopped = await typed("suspend", email.upper(), "--reason", "vol", "--json")
    assert json.loads(stopped.output) == {"id": name, "state": "suspended", "changed": True}
    shown = await typed("show", name, "--json")
    assert json.loads(shown.output)["state"] == "suspended"
    for caisse in (HERE, ELSEWHERE):
        async with identity_db.transaction(caisse) as tx:
            assert await tx.fetchval(FLOORS, name) in (1, 2)  # decision 0120
            assert [tuple(row) for row in await tx.fetch(NOTED, name)] == [("person.suspended", "vol")]

    restored = await typed("restore", name, "--reason", "vérifié", "--json")
    assert json.loads(restored.output)["changed"] is True
    for caisse in (HERE, ELSEWHERE):
        async with identity_db.transaction(caisse) as tx:
            assert [row[0] for row in await tx.fetch(NOTED, name)] == ["person.suspended", "person.restored"]


async def test_an_interrupted_suspension_is_finished_by_another(
    typed: Type, scene: Scene, identity_db: Database
) -> None:
    """The process died after the first caisse: the others have heard nothing."""
    async with identity_db.across_caisses() as tx:
        await tx.execute("UPDATE person SET state = 'suspended' WHERE id = $1", scene.member)
    email = await email_of(identity_db, scene)
    again = await typed("suspend", email, "--reason", "vol")
    assert again.exit_code == 0 and "déjà suspendu" in again.output
    for caisse in (HERE, ELSEWHERE):
        async with identity_db.transaction(caisse) as tx:
            assert await tx.fetchval(FLOORS, public_id("per", scene.member)) in (1, 2)


async def restored_in(db: Database, person_id: UUID) -> int:
    """How many of the two journals say so."""
    said = 0
    for caisse in (HERE, ELSEWHERE):
        async with db.transaction(caisse) as tx:
            said += "person.restored" in [
                row[0] for row in await tx.fetch(NOTED, public_id("per", person_id))
            ]
    return said


async def test_an_interrupted_restoration_is_finished_by_another(
    scene: Scene, identity_db: Database, clock: HeldClock
) -> None:
    """It dies while the person's own row is awaited: the state still says that it must be done."""

    async def restored() -> bool:
        return await restore_everywhere(
            identity_db, scene.member, by=THE_SYSTEM, reason="vérifié", now=clock()
        )

    await suspend_everywhere(identity_db, scene.member, by=THE_SYSTEM, reason="vol", now=clock())
    async with identity_db.across_caisses() as tx:
        await tx.fetchval("SELECT 1 FROM person WHERE id = $1 FOR UPDATE", scene.member)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await restored()
    assert await restored_in(identity_db, scene.member) == 1
    async with identity_db.across_caisses() as tx:
        assert await tx.fetchval("SELECT state FROM person WHERE id = $1", scene.member) == "suspended"

    assert await restored() and not await restored()
    assert await restored_in(identity_db, scene.member) == 2


async def test_whoever_is_not_suspended_is_not_restored(
    typed: Type, scene: Scene, identity_db: Database
) -> None:
    said = await typed("restore", await email_of(identity_db, scene), "--reason", "erreur")
    assert said.exit_code == 0 and "rien n'a été changé" in said.output
    async with identity_db.transaction(HERE) as tx:
        assert await tx.fetch(NOTED, public_id("per", scene.member)) == []


@pytest.mark.parametrize(
    ("who", "code"), [("personne@nulle-part.example", 1), ("per_nonsense", 2), ("pas une adresse", 1)]
)
async def test_nobody_of_that_name(typed: Type, scene: Scene, who: str, code: int) -> None:
    assert (await typed("suspend", who, "--reason", "vol")).exit_code == code


async def test_a_reason_is_asked_for(typed: Type, scene: Scene, identity_db: Database) -> None:
    email = await email_of(identity_db, scene)
    assert (await typed("suspend", email)).exit_code == 2
    assert json.loads((await typed("show", email, "--json")).output)["state"] == "active"

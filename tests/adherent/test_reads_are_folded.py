"""A cabinet that reads all day leaves a line a minute, and pushes no older act off the firm's page."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import httpx
import pytest

from libs.common.access.resource_server import ResourceServer
from libs.common.database.pool import Database
from libs.common.events.adherent import ActNoted
from libs.common.events.envelope import decode
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.runtime.settings import Settings
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.identifiers import new_id, public_id
from services.adherent.app import create_app
from services.adherent.member_file.hear_of_member import hear_of_member
from tests.adherent.callers import Caller, OneIssuer, says_standing, served
from tests.adherent.members import a_member, a_siren
from tests.conftest import HeldClock

HERE = CaisseSlug("mediterranee")
CABINET, MANDATE = new_id(), new_id()
SCOPES = ("payment.read", "declaration.read")


@pytest.fixture
async def api(
    settings: Settings, keys: KeyEncryption, issuer: OneIssuer, clock: HeldClock
) -> AsyncIterator[httpx.AsyncClient]:
    access = ResourceServer(settings, "adherent", keys, key_source=issuer, introspect=says_standing)
    async with served(create_app(settings, access=access, clock=clock), settings.adherent.base) as http:
        yield http


async def lines_and_facts(db: Database, firm: UUID) -> tuple[list[tuple[str, str]], list[str]]:
    async with db.transaction(HERE) as tx:
        lines = await tx.fetch(
            "SELECT action, coalesce(person_id::text, details->>'machine') FROM journal WHERE adherent_id = $1",
            firm,
        )
        rows = await tx.fetch("SELECT subject, body FROM outbox WHERE subject LIKE '%.act.noted.v1'")
    facts = [decode(row["subject"], row["body"])[1] for row in rows]
    told = [fact.action for fact in facts if isinstance(fact, ActNoted) and fact.adherent_id == firm]
    return sorted((row[0], row[1]) for row in lines), sorted(told)


async def test_a_line_and_a_fact_a_minute_for_each_actor_mandate_and_act(
    api: httpx.AsyncClient,
    adherent_db: Database,
    issuer: OneIssuer,
    settings: Settings,
    clock: HeldClock,
) -> None:
    member = a_member(number="R1", siren=a_siren(81_000_001))
    firm, one, other, machine = member.adherent_id, new_id(), new_id(), new_id()
    async with adherent_db.transaction(HERE) as tx:
        await hear_of_member(tx, member)
    path = f"/adherents/{public_id('adh', firm)}"
    caller = Caller(issuer, settings, "adherent", HERE)

    async def reads(token: str, where: str = "/statements", times: int = 1) -> None:
        answers = await asyncio.gather(*(caller.ask(api, "GET", path + where, token) for _ in range(times)))
        assert {answer.status_code for answer in answers} == {200}

    # Tokens last five minutes and are renewed as often as one likes: the line is not one of the token.
    await reads(caller.delegated(firm, one, CABINET, MANDATE, *SCOPES), times=10)
    await reads(caller.delegated(firm, one, CABINET, MANDATE, *SCOPES), times=10)
    expected = [("statements.read", str(one))]
    assert await lines_and_facts(adherent_db, firm) == (expected, ["statements.read"])

    await reads(caller.delegated(firm, one, CABINET, MANDATE, *SCOPES), where="")
    await reads(caller.delegated(firm, other, CABINET, MANDATE, *SCOPES))
    await reads(caller.delegated(firm, other, CABINET, MANDATE, *SCOPES, machine=machine))
    await reads(caller.delegated(firm, one, CABINET, MANDATE, *SCOPES, version=8))
    clock.forward(minutes=1)
    await reads(caller.delegated(firm, one, CABINET, MANDATE, *SCOPES), times=3)
    expected += [
        ("member_file.read", str(one)),
        ("statements.read", str(other)),
        ("statements.read", public_id("mch", machine)),
        ("statements.read", str(one)),
        ("statements.read", str(one)),
    ]
    assert await lines_and_facts(adherent_db, firm) == (sorted(expected), sorted(a for a, _ in expected))

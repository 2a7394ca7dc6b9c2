"""A cabinet's software at work: its token at a real service, what the firm reads of it, and what takes it away."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import msgspec
import pytest

from libs.common.access.service_client import DpopAuth
from libs.common.access.signatures import SigningKey
from libs.common.database.pool import Database
from libs.common.values.identifiers import public_id
from services.adherent.member_file.hear_of_member import hear_of_member
from services.identity.cabinets.access_groups import create_group, remove_group
from services.identity.cabinets.leave import remove_collaborator
from services.identity.cabinets.machine_store import Registered
from services.identity.cabinets.machines import (
    add_key,
    change_ceiling,
    change_sponsor,
    disable_machine,
    retire_key,
)
from services.identity.delegation.revoke import revoke
from tests.adherent.members import a_member, a_site
from tests.bus.conftest import until
from tests.conftest import HeldClock
from tests.identity.cabinets.software import a_public_key
from tests.identity.delegation.parties import HERE, a_key, a_scene, an_active_mandate, notices
from tests.identity.delegation.platform import Platform, platform
from tests.openid.party import Issuer
from tests.openid.token_exchange.delegations import Delegation, by_a_machine

__all__ = ["platform"]


class Served(Issuer):
    """The issuer as it is served, over the network."""

    def http(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.settings.identity.base, trust_env=False, timeout=30)


@pytest.fixture
async def at_work(platform: Platform, identity_db: Database, adherent_db: Database) -> Delegation:
    """A machine with a mandate in force, of a cabinet closed by default, for a firm that adherent knows."""
    now = datetime.now(UTC)
    issuer = Served(platform.settings, HERE, identity_db, HeldClock(), httpx.AsyncHTTPTransport())
    scene = await a_scene(identity_db, now, open_to_all=False)
    mandate = await an_active_mandate(identity_db, scene, now, machine=True)
    async with identity_db.transaction(HERE) as tx:
        await create_group(
            tx, scene.cabinet, "A", people=[scene.member, scene.owner], clients=[scene.adherent_id], now=now
        )
    number = str(scene.adherent_id.int)[-8:]
    member = a_member(number=number, name="MAÇONNERIE", siren=None, sites=[a_site(None)])
    async with adherent_db.transaction(HERE) as tx:
        await hear_of_member(tx, msgspec.structs.replace(member, adherent_id=scene.adherent_id))
    return await by_a_machine(identity_db, issuer, scene, mandate)


async def token_of(it: Delegation) -> str:
    it.issuer.clock.now = datetime.now(UTC)
    answer = await it.exchange(scope="declaration.read")
    assert answer.status_code == 200, answer.text
    return answer.json()["access_token"]


async def asked(platform: Platform, it: Delegation, token: str) -> httpx.Response:
    """The firm's file, at the adherent service."""
    path = f"/{HERE}/adherents/{public_id('adh', it.scene.adherent_id)}"
    async with platform.adherent.http() as http:
        return await http.get(path, auth=DpopAuth(it.client.dpop, token))


async def test_its_token_opens_the_firm_s_file_and_the_journal_names_it_and_its_sponsor(
    platform: Platform, at_work: Delegation, adherent_db: Database
) -> None:
    answer = await asked(platform, at_work, await token_of(at_work))
    assert answer.status_code == 200, answer.text
    assert at_work.machine is not None
    async with adherent_db.transaction(HERE) as tx:
        row = await tx.fetchrow(
            "SELECT person_id, details->>'machine', details->>'sponsor' FROM journal WHERE adherent_id = $1",
            at_work.scene.adherent_id,
        )
    assert row is not None
    assert tuple(row) == (
        None,
        public_id("mch", at_work.machine.id),
        public_id("per", at_work.scene.member),
    )


# What takes its token away in less than a second, wherever it is shown.


async def the_sponsor_leaves(tx: Any, it: Delegation, machine: Registered, now: datetime) -> None:
    await remove_collaborator(tx, it.scene.cabinet, it.scene.member, now=now)


async def the_sponsor_changes(tx: Any, it: Delegation, machine: Registered, now: datetime) -> None:
    await change_sponsor(tx, machine.id, it.scene.owner, now=now)


async def a_key_is_retired(tx: Any, it: Delegation, machine: Registered, now: datetime) -> None:
    await add_key(tx, machine.id, a_public_key(), now=now)
    await retire_key(tx, machine.id, it.client.key.kid, now=now)


async def the_ceiling_comes_down(tx: Any, it: Delegation, machine: Registered, now: datetime) -> None:
    await change_ceiling(tx, machine.id, ["attestation.read"], now=now)


async def the_machine_is_disabled(tx: Any, it: Delegation, machine: Registered, now: datetime) -> None:
    await disable_machine(tx, machine.id, now=now)


async def the_group_is_removed(tx: Any, it: Delegation, machine: Registered, now: datetime) -> None:
    group = await tx.fetchval("SELECT id FROM access_group WHERE cabinet_id = $1", it.scene.cabinet_id)
    await remove_group(tx, it.scene.cabinet, group, now=now)


async def the_mandate_is_revoked(tx: Any, it: Delegation, machine: Registered, now: datetime) -> None:
    await revoke(tx, it.scene.firm, it.mandate.id, key=a_key(), now=now, notices=notices())


Befall = Callable[[Any, Delegation, Registered, datetime], Awaitable[None]]
BEFALLS: list[Befall] = [
    the_sponsor_leaves,
    the_sponsor_changes,
    a_key_is_retired,
    the_ceiling_comes_down,
    the_machine_is_disabled,
    the_group_is_removed,
    the_mandate_is_revoked,
]


@pytest.mark.parametrize("befall", BEFALLS, ids=lambda one: one.__name__)
async def test_what_takes_the_power_takes_the_token(
    platform: Platform, at_work: Delegation, identity_db: Database, befall: Befall
) -> None:
    """Long before its five minutes; how soon is measured (`make bench ARGS='--part revocation'`)."""
    assert at_work.machine is not None
    token = await token_of(at_work)
    assert (await asked(platform, at_work, token)).status_code == 200
    async with identity_db.transaction(HERE) as tx:
        await befall(tx, at_work, at_work.machine, datetime.now(UTC))

    async def refused() -> bool:
        return (await asked(platform, at_work, token)).status_code == 401

    await until(refused)


async def test_a_stolen_token_is_worth_nothing_without_the_machine_s_proof_key(
    platform: Platform, at_work: Delegation
) -> None:
    token = await token_of(at_work)
    at_work.client.dpop = SigningKey.generate("ES256")
    assert (await asked(platform, at_work, token)).status_code == 401

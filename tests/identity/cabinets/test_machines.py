"""A cabinet's software enters a caisse: what it may be, who may answer for it, whatever dies meanwhile."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import asyncpg
import pytest

from libs.common.access.signatures import SigningKey
from libs.common.database.pool import Database
from libs.common.refusals import NotFound
from libs.common.runtime.settings import Settings
from libs.common.values.identifiers import new_id
from services.identity.cabinets import machine_store as store
from services.identity.cabinets.machine_store import Registered
from services.identity.cabinets.machines import (
    MachineAlreadyThere,
    NotASponsor,
    add_key,
    change_ceiling,
    change_sponsor,
    disable_machine,
    find_machine,
    metadata_of,
    register_machine,
    retire_key,
)
from services.identity.delegation.offer import CabinetNotEligible
from services.identity.openid.client_rules import InvalidClientMetadata
from services.identity.openid.clients import TOKEN_EXCHANGE
from services.identity.openid.store import load_client
from services.identity.openid.write_client import AT_THE_COMMAND_LINE, ItIsAMachine, update_client
from tests.conftest import HeldClock
from tests.identity import killed
from tests.identity.cabinets.software import SCOPES, a_machine, a_public_key
from tests.identity.delegation.parties import ELSEWHERE, HERE, Scene, a_caisse, a_scene
from tests.identity.first_connection.test_killed_activation import failing
from tests.identity.killed import killed_everywhere, rows_of

TABLES = ("client", "machine_client", "journal", "outbox")


async def test_a_machine_is_a_fapi_client_that_exchanges_and_nothing_else(
    identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock())
    machine = await a_machine(identity_db, scene, clock())
    metadata = metadata_of(machine)

    assert (metadata.profile, metadata.token_endpoint_auth_method) == ("fapi", "private_key_jwt")
    assert metadata.grant_types == (TOKEN_EXCHANGE,)
    assert (metadata.response_types, metadata.redirect_uris) == ((), ())
    assert metadata.dpop_bound_access_tokens
    assert (machine.name, machine.sponsor_name, machine.state) == ("Paie & Co", "Hugo Petit", "active")
    assert machine.sponsor_may_answer and machine.last_used_at is None


@pytest.mark.parametrize(
    "changes",
    [
        {"scopes": ["payment.order"]},
        {"scopes": ["mandate.manage"]},
        {"scopes": ["openid"]},
        {"scopes": ["client.manage"]},
        {"scopes": []},
        {"keys": []},
        {"keys": [{"kty": "EC"}]},
        {"keys": [SigningKey.generate("ES256").published_jwk() | {"kid": None}]},
        {"keys": [SigningKey.generate("ES256").published_jwk() | {"d": "AAAA"}]},
        {"keys": [SigningKey.generate("ES256").published_jwk() | {"kid": "k"}] * 2},
        {"keys": [{"kty": "oct", "k": "AAAA", "kid": "k"}]},
        {"keys": [SigningKey.generate("ES256").published_jwk() | {"kid": "a/b"}]},
        {"keys": [SigningKey.generate("ES256").published_jwk() | {"kid": ".."}]},
        {"name": "nul\x00"},
        {"name": "deux\u2028lignes"},
        {"name": "Paie \u202eeiap"},
        {"name": "deux\nlignes"},
        {"name": "deux\u2028lignes"},
        {"name": "Paie\u202e oC &"},
        {"name": "Paie\u200b & Co"},
        {"name": " "},
        {"name": ""},
        {"name": "x" * 101},
    ],
)
async def test_what_no_machine_may_be(
    identity_db: Database, clock: HeldClock, changes: dict[str, Any]
) -> None:
    scene = await a_scene(identity_db, clock())
    before = await rows_of(identity_db, HERE, TABLES)
    with pytest.raises(InvalidClientMetadata):
        await a_machine(identity_db, scene, clock(), **changes)
    assert await rows_of(identity_db, HERE, TABLES) == before


async def test_the_sponsor_is_of_the_cabinet_and_in_good_standing(
    identity_db: Database, clock: HeldClock
) -> None:
    scene, other = await a_scene(identity_db, clock()), await a_scene(identity_db, clock())
    for stranger in (other.member, scene.administrator, new_id()):
        with pytest.raises(NotASponsor):
            await a_machine(identity_db, scene, clock(), sponsor_id=stranger)
    machine = await a_machine(identity_db, scene, clock())
    async with identity_db.across_caisses() as tx:
        await tx.execute("UPDATE person SET state = 'suspended' WHERE id = $1", scene.owner)
    for stranger in (other.member, scene.owner):
        with pytest.raises(NotASponsor):
            async with identity_db.transaction(HERE) as tx:
                await change_sponsor(tx, machine.id, stranger, now=clock())


async def test_a_cabinet_that_the_caisse_refuses_gets_no_machine(
    identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock())
    async with identity_db.transaction(HERE) as tx:
        await tx.execute(
            "INSERT INTO cabinet_denial (caisse, cabinet_id, reason, at) VALUES ($1, $2, '', $3)",
            HERE, scene.cabinet_id, clock(),
        )  # fmt: skip
    with pytest.raises(CabinetNotEligible):
        await a_machine(identity_db, scene, clock())


async def test_registered_twice_under_one_name_it_is_there_once(
    identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock())
    await a_machine(identity_db, scene, clock())
    before = await rows_of(identity_db, HERE, TABLES)
    with pytest.raises(MachineAlreadyThere):
        await a_machine(identity_db, scene, clock())
    assert await rows_of(identity_db, HERE, TABLES) == before


async def test_machines_of_another_caisse_are_not_there(identity_db: Database, clock: HeldClock) -> None:
    scene = await a_scene(identity_db, clock())
    machine = await a_machine(identity_db, scene, clock())
    await a_caisse(identity_db, ELSEWHERE, clock())
    acts: list[Callable[[Any], Awaitable[object]]] = [
        lambda tx: find_machine(tx, machine.id),
        lambda tx: change_sponsor(tx, machine.id, scene.owner, now=clock()),
        lambda tx: change_ceiling(tx, machine.id, ["declaration.read"], now=clock()),
        lambda tx: add_key(tx, machine.id, a_public_key(), now=clock()),
        lambda tx: retire_key(tx, machine.id, "k", now=clock()),
        lambda tx: disable_machine(tx, machine.id, now=clock()),
    ]
    for act in acts:
        with pytest.raises(NotFound):
            async with identity_db.transaction(ELSEWHERE) as tx:
                await act(tx)
    async with identity_db.transaction(ELSEWHERE) as tx:
        assert await store.every(tx, scene.cabinet_id) == []
        assert await load_client(tx, machine.client_id) is None
    # The same firm's software may enter both caisses under one name.
    there = await a_machine(identity_db, scene._replace(caisse=ELSEWHERE), clock())
    assert there.client_id != machine.client_id


async def test_the_commands_of_other_clients_do_not_change_a_machine(
    identity_db: Database, clock: HeldClock
) -> None:
    """Else it could be given another grant, or the right to order payments."""
    machine = await a_machine(identity_db, await a_scene(identity_db, clock()), clock())
    with pytest.raises(ItIsAMachine):
        async with identity_db.transaction(HERE) as tx:
            client = await load_client(tx, machine.client_id)
            assert client is not None
            await update_client(
                tx, client, client.metadata, now=clock(), plain_http=False, by=AT_THE_COMMAND_LINE
            )


# Whatever dies meanwhile

Act = Callable[[Database], Awaitable[Registered]]


def registering(scene: Scene, machine: Registered, now: datetime) -> Act:
    key = a_public_key()

    async def act(db: Database) -> Registered:
        async with db.transaction(HERE) as tx:
            return await register_machine(
                tx, scene.cabinet_id, "Seconde", sponsor_id=scene.member, scopes=SCOPES, keys=[key],
                resources=(), now=now,
            )  # fmt: skip

    return act


def sponsoring(scene: Scene, machine: Registered, now: datetime) -> Act:
    async def act(db: Database) -> Registered:
        async with db.transaction(HERE) as tx:
            return await change_sponsor(tx, machine.id, scene.owner, now=now)

    return act


def narrowing(scene: Scene, machine: Registered, now: datetime) -> Act:
    async def act(db: Database) -> Registered:
        async with db.transaction(HERE) as tx:
            return await change_ceiling(tx, machine.id, ["declaration.read"], now=now)

    return act


def adding(scene: Scene, machine: Registered, now: datetime) -> Act:
    key = a_public_key()

    async def act(db: Database) -> Registered:
        async with db.transaction(HERE) as tx:
            return await add_key(tx, machine.id, key, now=now)

    return act


def disabling(scene: Scene, machine: Registered, now: datetime) -> Act:
    async def act(db: Database) -> Registered:
        async with db.transaction(HERE) as tx:
            return await disable_machine(tx, machine.id, now=now)

    return act


COMMANDS = [registering, sponsoring, narrowing, adding, disabling]


async def ready(db: Database, command: Callable[..., Act], now: datetime) -> Act:
    scene = await a_scene(db, now)
    return command(scene, await a_machine(db, scene, now), now)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda one: one.__name__)
async def test_killed_before_any_statement_nothing_stays_and_asking_again_is_enough(
    identity_db: Database, clock: HeldClock, command: Callable[..., Act]
) -> None:
    async def scene() -> killed.Scene:
        return killed.Scene(HERE, await ready(identity_db, command, clock()))

    assert await killed_everywhere(identity_db, scene, TABLES) > 3


@pytest.mark.parametrize("when", ["BEFORE", "AFTER"])
@pytest.mark.parametrize("table", ["client", "machine_client", "journal"])
async def test_whatever_write_fails_a_registration_leaves_nothing(
    identity_db: Database, settings: Settings, clock: HeldClock, table: str, when: str
) -> None:
    act = await ready(identity_db, registering, clock())
    before = await rows_of(identity_db, HERE, TABLES)
    async with failing(settings.identity.owner_dsn, table, when):
        with pytest.raises(asyncpg.RaiseError):
            await act(identity_db)
        assert await rows_of(identity_db, HERE, TABLES) == before
    assert (await act(identity_db)).name == "Seconde"


@pytest.mark.parametrize("command", COMMANDS[1:], ids=lambda one: one.__name__)
async def test_done_but_the_answer_was_lost_the_second_try_changes_nothing(
    identity_db: Database, clock: HeldClock, command: Callable[..., Act]
) -> None:
    act = await ready(identity_db, command, clock())
    first = await act(identity_db)
    after = await rows_of(identity_db, HERE, TABLES)
    assert await act(identity_db) == first
    assert await rows_of(identity_db, HERE, TABLES) == after

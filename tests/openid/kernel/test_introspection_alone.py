"""Introspection without a database: each thing that may be withdrawn ends a token by itself (delegation.md §4)."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from libs.common.values.identifiers import public_id
from services.identity.openid.clients import CLIENT_CREDENTIALS, CODE, TOKEN_EXCHANGE
from services.identity.openid.introspection import describe
from services.identity.openid.snapshot import Snapshot
from services.identity.openid.token import decide
from tests.openid.kernel import world

OWN, OF_A_PERSON, OF_A_MACHINE, OF_A_SERVICE = "a person's own", "by a person", "by a machine", "a service's"
EACH = (OWN, OF_A_PERSON, OF_A_MACHINE, OF_A_SERVICE)
DELEGATED = (OF_A_PERSON, OF_A_MACHINE)
GROUP = UUID(int=10)
LIMITED = {"establishments": (public_id("est", UUID(int=11)),), "amount_cap_cents": 1000, "group_id": GROUP}
"""A mandate that is not for everything, in the reach of a group."""

ASKED = {
    OWN: world.asked(CODE),
    OF_A_PERSON: world.asked(TOKEN_EXCHANGE),
    OF_A_MACHINE: world.asked_by_a_machine(),
    OF_A_SERVICE: world.asked(CLIENT_CREDENTIALS, scope="standing.read", resource=world.ADHERENT),
}


def the_client(**changes: Any) -> Any:
    return world.client(**{"scope": world.SCOPES + " standing.read", **changes})


def shown(kind: str) -> Snapshot:
    """A token of this kind, given a moment ago, and everything that it stands on."""
    actor = world.machine() if kind == OF_A_MACHINE else None
    world_then = world.whole_snapshot(client=the_client(), power=world.power(**LIMITED), machine=actor)
    answer = decide(ASKED[kind], world_then).answer
    assert isinstance(answer.body, dict), answer
    claims = world.issuer().keys.read_own_jwt(answer.body["access_token"], typ="at+jwt")
    return replace(world_then, presented=claims, issued_to=the_client())


def is_active(snapshot: Snapshot, caller: Any = None) -> bool:
    return describe(caller or the_client(), snapshot)["active"]


@pytest.mark.parametrize("kind", EACH)
def test_what_nothing_was_withdrawn_of_is_active(kind: str) -> None:
    assert is_active(shown(kind))


STRANGER = replace(world.client(), client_id="client_2")
BEFORE = world.NOW - timedelta(seconds=1)


@pytest.mark.parametrize("kind", EACH)
@pytest.mark.parametrize(
    "withdrawn",
    [
        {"presented_is_revoked": True},
        {"now": world.NOW + timedelta(minutes=10)},
        {"floor": world.NOW},
        {"issued_to": None},
        {"issued_to": replace(the_client(), state="disabled")},
        {"issued_to": the_client(scope="openid")},
        {"issued_to": the_client(resources=())},
    ],
    ids=["revoked", "over", "floor", "no client", "disabled", "no right", "no audience"],
)
def test_what_ends_any_token_ends_this_one(kind: str, withdrawn: dict[str, Any]) -> None:
    snapshot = shown(kind)
    if kind == OWN and withdrawn == {"issued_to": the_client(resources=())}:
        # For UserInfo, which is the issuer's own and open to every client.
        assert is_active(replace(snapshot, **withdrawn))
        return
    assert not is_active(replace(snapshot, **withdrawn))


@pytest.mark.parametrize("kind", EACH)
def test_nobody_else_sees_it(kind: str) -> None:
    """openid.md line 24."""
    snapshot = shown(kind)
    assert not is_active(snapshot, STRANGER)
    audience = (snapshot.presented or {})["aud"]
    reads = replace(STRANGER, metadata=replace(STRANGER.metadata, introspects=(audience,)))
    assert is_active(snapshot, reads)
    elsewhere = replace(STRANGER, metadata=replace(STRANGER.metadata, introspects=(world.DOCUMENTS,)))
    assert not is_active(snapshot, elsewhere)


@pytest.mark.parametrize("kind", DELEGATED)
@pytest.mark.parametrize(
    "power",
    [
        None,
        world.power(**LIMITED, version=8),
        world.power(**LIMITED, not_after=world.NOW),
        world.power(**LIMITED, scopes=frozenset({"declaration.read"})),
        world.power(**{**LIMITED, "group_id": None}),
        world.power(**{**LIMITED, "group_id": UUID(int=12)}),
        world.power(**{**LIMITED, "establishments": (public_id("est", UUID(int=13)),)}),
    ],
    ids=[
        "none",
        "version",
        "over",
        "rights",
        "no group",
        "another group",
        "establishments",
    ],
)
def test_a_delegated_token_is_within_the_power_of_today(kind: str, power: Any) -> None:
    assert not is_active(replace(shown(kind), power=power))


@pytest.mark.parametrize("cap", [None, 999])
def test_a_cap_lowered_since_ends_it(cap: int | None) -> None:
    power = world.power(**{**LIMITED, "amount_cap_cents": cap})
    assert not is_active(replace(shown(OF_A_PERSON), power=power))


@pytest.mark.parametrize(
    "grant",
    [
        None,
        world.grant(revoked=True),
        world.grant(client_id="client_2"),
        world.grant(subject=world.subject(person_state="suspended")),
        world.grant(subject=world.subject(session_ends_at=world.NOW)),
    ],
    ids=["none", "revoked", "another client's", "suspended", "session over"],
)
@pytest.mark.parametrize("kind", [OWN, OF_A_PERSON])
def test_a_person_s_token_stands_on_its_grant(kind: str, grant: Any) -> None:
    assert not is_active(replace(shown(kind), grant=grant))


@pytest.mark.parametrize(
    "machine",
    [
        None,
        world.machine(id=UUID(int=14)),
        world.machine(not_before=world.NOW),
        world.machine(sponsor_state="suspended"),
        world.machine(membership="left"),
    ],
    ids=["none", "another", "changed since", "sponsor suspended", "sponsor left"],
)
def test_a_machine_s_token_stands_on_its_sponsor(machine: Any) -> None:
    assert is_active(replace(shown(OF_A_MACHINE), machine=world.machine(not_before=BEFORE)))
    assert not is_active(replace(shown(OF_A_MACHINE), machine=machine))


def test_a_person_s_own_token_names_no_mandate() -> None:
    """Only what was exchanged has one: with one and nobody who acts, it is nothing that we give."""
    snapshot, detail = shown(OWN), {"type": "mandate", "mandate": public_id("mdt", UUID(int=6)), "ver": 7}
    claims = {**(snapshot.presented or {}), "authorization_details": [detail]}
    assert not is_active(replace(snapshot, presented=claims))

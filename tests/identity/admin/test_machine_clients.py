"""The machines of cabinets by the administration API: the command line's own doing, over HTTP."""

import asyncio
from typing import Any

import pytest

from libs.common.database.pool import Database
from libs.common.values.identifiers import new_id, public_id
from tests.identity.admin.machines import Machine, of_machines
from tests.identity.cabinets.software import a_public_key
from tests.identity.delegation.parties import Scene, a_scene
from tests.openid.party import Issuer


def wanted(scene: Scene, **changes: Any) -> dict[str, Any]:
    return {
        "cabinet": public_id("cab", scene.cabinet_id),
        "name": "Paie & Co",
        "sponsor": public_id("per", scene.member),
        "scopes": ["declaration.read", "attestation.request"],
        "jwks": {"keys": [a_public_key()]},
        **changes,
    }


@pytest.fixture
async def scene(issuer: Issuer, identity_db: Database) -> Scene:
    return await a_scene(identity_db, issuer.clock(), caisse=issuer.caisse)


async def added(machine: Machine, scene: Scene, **changes: Any) -> dict[str, Any]:
    answer = await machine.ask("POST", "/machine-clients", wanted(scene, **changes), key=str(new_id()))
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_a_machine_is_registered_shown_changed_and_disabled(
    machine: Machine, scene: Scene, issuer: Issuer
) -> None:
    its = await added(machine, scene)
    at = f"/machine-clients/{its['id']}"
    second = a_public_key()

    assert its["id"].startswith("mch_") and its["client_id"].startswith("client_")
    assert (its["sponsor_name"], its["cabinet_name"]) == ("Hugo Petit", "Cabinet Ferrand")
    assert its["sponsor_may_answer"] is True and its["last_used_at"] is None
    assert (await machine.ask("GET", at)).json() == its
    assert its in (await machine.ask("GET", "/machine-clients")).json()["machines"]

    owner = public_id("per", scene.owner)
    changed = await machine.ask("PUT", f"{at}/sponsor", {"sponsor": owner})
    assert (changed.status_code, changed.json()["sponsor_name"]) == (200, "Line Ferrand")
    lowered = await machine.ask("PUT", f"{at}/ceiling", {"scopes": ["declaration.read"]})
    assert lowered.json()["scopes"] == ["declaration.read"]
    both = await machine.ask("POST", f"{at}/keys", {"key": second})
    assert [key["kid"] for key in both.json()["jwks"]["keys"]] == [
        its["jwks"]["keys"][0]["kid"],
        second["kid"],
    ]
    assert (await machine.ask("POST", f"{at}/keys", {"key": second})).json() == both.json()
    one = await machine.ask("DELETE", f"{at}/keys/{its['jwks']['keys'][0]['kid']}")
    assert [key["kid"] for key in one.json()["jwks"]["keys"]] == [second["kid"]]
    assert (await machine.ask("DELETE", f"{at}/keys/{its['jwks']['keys'][0]['kid']}")).status_code == 404
    last = await machine.ask("DELETE", f"{at}/keys/{second['kid']}")
    assert (last.status_code, last.json()["type"]) == (409, "urn:espace:problem:last-key")
    assert (await machine.ask("POST", f"{at}/disable")).json()["state"] == "disabled"
    assert (await machine.ask("POST", f"{at}/disable")).json()["state"] == "disabled"


async def test_sent_twice_it_is_one_machine(machine: Machine, scene: Scene) -> None:
    body, key = wanted(scene), str(new_id())
    first, twin = await asyncio.gather(
        *(machine.ask("POST", "/machine-clients", body, key=key) for _ in range(2))
    )
    assert first.json() == twin.json() and first.status_code == 201
    other = await machine.ask("POST", "/machine-clients", wanted(scene), key=key)
    assert (other.status_code, other.json()["type"]) == (409, "urn:espace:problem:key-reused")
    again = await machine.ask("POST", "/machine-clients", body, key=str(new_id()))
    assert (again.status_code, again.json()["type"]) == (409, "urn:espace:problem:machine-already-there")


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"scopes": ["payment.order"]}, 422),
        ({"scopes": ["client.manage"]}, 422),
        ({"jwks": {"keys": [{"kty": "EC"}]}}, 422),
        ({"jwks": {"keys": []}}, 400),
        ({"sponsor": public_id("per", new_id())}, 422),
        ({"cabinet": public_id("cab", new_id())}, 409),
        ({"cabinet": "cab_nonsense"}, 400),
        ({"profile": "compat"}, 400),
    ],
)
async def test_what_breaks_a_rule_is_told(
    machine: Machine, scene: Scene, changes: dict[str, Any], status: int
) -> None:
    answer = await machine.ask("POST", "/machine-clients", wanted(scene, **changes), key=str(new_id()))
    assert answer.status_code == status, answer.text


async def test_the_routes_of_clients_do_not_change_a_machine(machine: Machine, scene: Scene) -> None:
    its = await added(machine, scene)
    loose = of_machines("declaration.read", jwks=its["jwks"])
    answer = await machine.ask("PUT", f"/clients/{its['client_id']}", loose)
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:espace:problem:client-is-a-machine")


async def test_machines_of_another_caisse_are_not_there(
    machine: Machine, elsewhere: Issuer, identity_db: Database
) -> None:
    from tests.identity.cabinets.software import a_machine

    far = await a_scene(identity_db, elsewhere.clock(), caisse=elsewhere.caisse)
    its = await a_machine(identity_db, far, elsewhere.clock())
    at = f"/machine-clients/{public_id('mch', its.id)}"
    answers = [
        await machine.ask("GET", at),
        await machine.ask("PUT", f"{at}/sponsor", {"sponsor": public_id("per", far.owner)}),
        await machine.ask("PUT", f"{at}/ceiling", {"scopes": ["declaration.read"]}),
        await machine.ask("POST", f"{at}/keys", {"key": a_public_key()}),
        await machine.ask("DELETE", f"{at}/keys/k"),
        await machine.ask("POST", f"{at}/disable"),
    ]
    assert {answer.status_code for answer in answers} == {404}
    listed = (await machine.ask("GET", "/machine-clients")).json()["machines"]
    assert public_id("mch", its.id) not in {one["id"] for one in listed}

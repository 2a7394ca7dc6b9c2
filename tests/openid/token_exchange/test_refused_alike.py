"""Whatever a person's exchange refuses is refused to a machine: each refusal crossed with both actors."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from libs.common.database.pool import Database
from libs.common.values.caisse_slug import parse_caisse_slug
from libs.common.values.identifiers import new_id, public_id
from services.identity.cabinets.access_groups import create_group, take_from_group
from services.identity.cabinets.leave import remove_collaborator
from services.identity.delegation.narrow import narrow, what_remains
from services.identity.delegation.revoke import revoke
from services.identity.delegation.suspend import suspend
from services.identity.openid.write_client import disable_client
from tests.identity.delegation.parties import a_key, a_scene, an_active_mandate, an_offer, notices
from tests.openid.party import Issuer, claims_of
from tests.openid.token_exchange.delegations import Delegation, delegated, refused

ACTORS = ["person", "machine"]
pytestmark = pytest.mark.parametrize("actor", ACTORS)


async def of_table(db: Database, statement: str, key: Any) -> None:
    async with db.across_caisses() as tx:
        await tx.execute(statement, key)


async def of_caisse(db: Database, it: Delegation, statement: str, key: Any) -> None:
    async with db.transaction(it.issuer.caisse) as tx:
        await tx.execute(statement, key)


# What befalls a delegation in force.


async def the_mandate_is_revoked(db: Database, it: Delegation) -> None:
    async with db.transaction(it.issuer.caisse) as tx:
        await revoke(tx, it.scene.firm, it.mandate.id, key=a_key(), now=it.issuer.clock(), notices=notices())


async def the_mandate_is_suspended(db: Database, it: Delegation) -> None:
    async with db.transaction(it.issuer.caisse) as tx:
        await suspend(tx, it.scene.firm, it.mandate.id, key=a_key(), now=it.issuer.clock())


async def the_firm_is_struck_off(db: Database, it: Delegation) -> None:
    await of_caisse(db, it, "UPDATE adherent SET state = 'struck_off' WHERE id = $1", it.scene.adherent_id)


async def the_cabinet_is_struck_off(db: Database, it: Delegation) -> None:
    await of_table(db, "UPDATE cabinet SET state = 'struck_off' WHERE id = $1", it.scene.cabinet_id)


async def the_caisse_refuses_the_cabinet(db: Database, it: Delegation) -> None:
    await of_caisse(
        db, it,
        "INSERT INTO cabinet_denial (caisse, cabinet_id, reason, at) VALUES ('mediterranee', $1, '', now())",
        it.scene.cabinet_id,
    )  # fmt: skip


async def the_colleague_has_left(db: Database, it: Delegation) -> None:
    async with db.transaction(it.issuer.caisse) as tx:
        await remove_collaborator(tx, it.scene.cabinet, it.scene.member, now=it.issuer.clock())


async def the_colleague_is_suspended(db: Database, it: Delegation) -> None:
    await of_table(db, "UPDATE person SET state = 'suspended' WHERE id = $1", it.scene.member)


async def the_cabinet_closes_its_clients(db: Database, it: Delegation) -> None:
    await of_table(db, "UPDATE cabinet SET open_to_all = false WHERE id = $1", it.scene.cabinet_id)


BEFALLS: list[Callable[[Database, Delegation], Awaitable[None]]] = [
    the_mandate_is_revoked,
    the_mandate_is_suspended,
    the_firm_is_struck_off,
    the_cabinet_is_struck_off,
    the_caisse_refuses_the_cabinet,
    the_colleague_has_left,
    the_colleague_is_suspended,
    the_cabinet_closes_its_clients,
]


@pytest.mark.parametrize("befall", BEFALLS, ids=lambda one: one.__name__)
async def test_power_that_ends_gives_nothing_at_once(
    issuer: Issuer,
    identity_db: Database,
    actor: str,
    befall: Callable[[Database, Delegation], Awaitable[None]],
) -> None:
    it = await delegated(identity_db, issuer, actor)
    assert (await it.exchange()).status_code == 200
    await befall(identity_db, it)
    refused(await it.exchange())


async def test_unknown_foreign_and_pending_mandates_are_one_answer(
    issuer: Issuer, identity_db: Database, actor: str
) -> None:
    it = await delegated(identity_db, issuer, actor)
    now, elsewhere = issuer.clock(), parse_caisse_slug("grand-ouest")
    other = await a_scene(identity_db, now, caisse=issuer.caisse)
    far = await a_scene(identity_db, now, caisse=elsewhere)
    handles = [
        new_id(),
        (await an_active_mandate(identity_db, other, now, machine=True)).id,
        (await an_active_mandate(identity_db, far, now, machine=True)).id,
        (await an_offer(identity_db, it.scene, now, "leave", machine=True)).id,
    ]
    answers = [await it.exchange(subject_token=public_id("mdt", handle)) for handle in handles]
    answers.append(await it.exchange(subject_token="mdt_nonsense"))
    answers.append(await it.exchange(subject_token=public_id("adh", it.scene.adherent_id)))

    assert {(answer.status_code, answer.text) for answer in answers} == {(400, answers[0].text)}
    refused(answers[0])


async def test_a_mandate_past_its_end_gives_nothing(
    issuer: Issuer, identity_db: Database, actor: str
) -> None:
    it = await delegated(identity_db, issuer, actor)
    then = issuer.clock.now
    issuer.clock.forward(days=366)
    await it.again()
    refused(await it.exchange())
    issuer.clock.now = then


async def test_a_client_in_no_group_is_out_of_reach(
    issuer: Issuer, identity_db: Database, actor: str
) -> None:
    """Case 16. The groups that bound a machine are its sponsor's."""
    it = await delegated(identity_db, issuer, actor, open_to_all=False)
    refused(await it.exchange())
    async with identity_db.transaction(issuer.caisse) as tx:
        group = await create_group(
            tx, it.scene.cabinet, "A", people=[it.scene.member], clients=[it.scene.adherent_id],
            scopes={"declaration.read"}, now=issuer.clock(),
        )  # fmt: skip
    answer = await it.exchange()
    assert answer.json()["scope"] == "declaration.read", answer.text
    assert answer.json()["authorization_details"][0]["group"] == public_id("grp", group)

    async with identity_db.transaction(issuer.caisse) as tx:
        await take_from_group(tx, it.scene.cabinet, group, person_id=it.scene.member, now=issuer.clock())
    refused(await it.exchange())


async def test_a_group_that_ends_soon_shortens_the_token_then_refuses(
    issuer: Issuer, identity_db: Database, actor: str
) -> None:
    """Case 17."""
    it = await delegated(identity_db, issuer, actor, open_to_all=False)
    async with identity_db.transaction(issuer.caisse) as tx:
        await create_group(
            tx, it.scene.cabinet, "A", people=[it.scene.member], clients=[it.scene.adherent_id],
            ends_at=issuer.clock() + timedelta(seconds=60), now=issuer.clock(),
        )  # fmt: skip
    claims = claims_of((await it.exchange()).json()["access_token"])
    assert claims["exp"] - claims["iat"] <= 60
    issuer.clock.forward(seconds=61)
    refused(await it.exchange())


async def test_a_narrowed_mandate_gives_less(issuer: Issuer, identity_db: Database, actor: str) -> None:
    it = await delegated(identity_db, issuer, actor)
    async with identity_db.transaction(issuer.caisse) as tx:
        less = what_remains(it.mandate)._replace(scopes=frozenset({"declaration.read"}))
        await narrow(tx, it.scene.firm, it.mandate.id, less, key=a_key(), now=issuer.clock())
    answer = await it.exchange()
    assert (answer.json()["scope"], answer.json()["authorization_details"][0]["ver"]) == (
        "declaration.read",
        it.mandate.version + 1,
    )
    refused(await it.exchange(scope="declaration.submit"), "invalid_scope")


async def test_granted_is_an_intersection(issuer: Issuer, identity_db: Database, actor: str) -> None:
    it = await delegated(identity_db, issuer, actor)
    asked = "declaration.read payment.order mandate.manage leave.read message.read"
    assert (await it.exchange(scope=asked)).json()["scope"] == "declaration.read"
    assert (await it.exchange(resource=issuer.documents)).json()["scope"] == (
        "attestation.read attestation.request"
    )
    refused(await it.exchange(scope="mandate.manage"), "invalid_scope")
    refused(await it.exchange(resource="https://elsewhere.example/api"), "invalid_target")


async def test_a_target_is_an_address_and_no_name_is_passed_over(
    issuer: Issuer, identity_db: Database, actor: str
) -> None:
    """RFC 8693 §2.1, §2.2.2: beside a resource or in its place, an `audience` is refused, not ignored."""
    it = await delegated(identity_db, issuer, actor)
    for resource in (issuer.adherent, None):
        for audience in ("adherent", issuer.documents):
            refused(await it.exchange(audience=audience, resource=resource), "invalid_target")
    assert (await it.exchange()).status_code == 200


async def test_a_mandate_gives_an_access_token_and_nothing_else(
    issuer: Issuer, identity_db: Database, actor: str
) -> None:
    """RFC 8693 §2.1: the types are said, and are ours; a token of one kind is not taken for another."""
    it = await delegated(identity_db, issuer, actor)
    for wrong in (
        {"subject_token_type": "urn:ietf:params:oauth:token-type:access_token"},
        {"subject_token_type": "urn:ietf:params:oauth:token-type:id_token"},
        {"requested_token_type": "urn:ietf:params:oauth:token-type:refresh_token"},
        {"requested_token_type": "urn:ietf:params:oauth:token-type:id_token"},
        {"actor_token_type": "urn:ietf:params:oauth:token-type:id_token", "actor_token": it.actor or "t"},
    ):
        refused(await it.exchange(**wrong), "invalid_request")


async def test_details_of_another_mandate_are_not_this_one_s(
    issuer: Issuer, identity_db: Database, actor: str
) -> None:
    """RFC 9396 §6: a detail that names a mandate names the one that is exchanged."""
    it = await delegated(identity_db, issuer, actor)
    for mandate, status in ((it.mandate.id, 200), (new_id(), 400)):
        detail = f'[{{"type":"mandate","mandate":"{public_id("mdt", mandate)}"}}]'
        answer = await it.exchange(authorization_details=detail)
        assert answer.status_code == status, answer.text
    assert answer.json()["error"] == "invalid_authorization_details"


async def test_details_only_narrow(issuer: Issuer, identity_db: Database, actor: str) -> None:
    it = await delegated(identity_db, issuer, actor)
    est = public_id("est", it.scene.establishment_id)
    narrowed = await it.exchange(authorization_details=f'[{{"type":"mandate","establishments":["{est}"]}}]')
    assert narrowed.json()["authorization_details"][0]["establishments"] == [est]
    for wrong in ('[{"type":"other"}]', '[{"type":"mandate","amount_cap_cents":1}]', "[]"):
        refused(await it.exchange(authorization_details=wrong), "invalid_authorization_details")


async def test_a_disabled_client_is_no_client(issuer: Issuer, identity_db: Database, actor: str) -> None:
    it = await delegated(identity_db, issuer, actor)
    async with identity_db.transaction(issuer.caisse) as tx:
        await disable_client(tx, it.client.client_id, now=issuer.clock())
    refused(await it.exchange(), "invalid_client", 401)


async def test_a_delegated_token_opens_no_second_hop(
    issuer: Issuer, identity_db: Database, actor: str
) -> None:
    """Case 29."""
    it = await delegated(identity_db, issuer, actor)
    token = (await it.exchange(resource=issuer.documents)).json()["access_token"]
    access = "urn:ietf:params:oauth:token-type:access_token"
    refused(await it.exchange(actor_token=token, actor_token_type=access))
    refused(await it.exchange(subject_token=token))


async def test_no_refresh_token_and_five_minutes_at_most(
    issuer: Issuer, identity_db: Database, actor: str
) -> None:
    it = await delegated(identity_db, issuer, actor)
    body = (await it.exchange()).json()
    claims = claims_of(body["access_token"])
    assert "refresh_token" not in body
    assert 0 < claims["exp"] - claims["iat"] == body["expires_in"] <= 300
    assert claims["cnf"] == {"jkt": it.client.dpop.kid}


async def test_a_proof_of_the_key_is_needed(issuer: Issuer, identity_db: Database, actor: str) -> None:
    it = await delegated(identity_db, issuer, actor)
    said = {"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token": public_id("mdt", it.mandate.id),
            "subject_token_type": "urn:espace:params:oauth:token-type:mandate",
            "resource": issuer.adherent}  # fmt: skip
    if it.actor:
        access = "urn:ietf:params:oauth:token-type:access_token"
        said |= {"actor_token": it.actor, "actor_token_type": access}
    answer = await it.client.post("/token", said, proof=None)
    assert answer.status_code == 400
    assert answer.json()["error"] in {"invalid_dpop_proof", "invalid_grant"}

"""RFC 8693 on a mandate: delegation.md §3 and the acceptance cases that the exchange decides."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from libs.common.access.signatures import SigningKey
from libs.common.database.pool import Database
from libs.common.values.identifiers import new_id, public_id
from services.identity.delegation.revoke import revoke
from services.identity.openid.clients import CLIENT_CREDENTIALS
from services.identity.openid.token_exchange import ACCESS_TOKEN
from tests.identity.delegation.parties import a_key, a_scene, an_active_mandate, an_offer, notices
from tests.openid.party import Issuer, claims_of
from tests.openid.token_exchange.delegations import (
    Delegation,
    actor_token,
    by_a_person,
    cabinet_client,
    refused,
)


@pytest.fixture
async def delegation(issuer: Issuer, identity_db: Database) -> Delegation:
    scene = await a_scene(identity_db, issuer.clock(), caisse=issuer.caisse)
    mandate = await an_active_mandate(identity_db, scene, issuer.clock())
    return await by_a_person(identity_db, issuer, scene, mandate)


async def test_the_delegated_token_names_firm_person_cabinet_and_mandate(delegation: Delegation) -> None:
    answer = await delegation.exchange(scope="declaration.read declaration.submit")
    body: dict[str, Any] = answer.json()
    claims = claims_of(body["access_token"])
    scene = delegation.scene

    assert answer.status_code == 200, answer.text
    assert claims["sub"] == public_id("adh", scene.adherent_id)
    assert claims["act"]["sub"] == public_id("per", scene.member)
    assert claims["act"]["org"] == public_id("cab", scene.cabinet_id)
    assert claims["scope"] == "declaration.read declaration.submit"
    assert claims["authorization_details"] == body["authorization_details"]
    assert claims["authorization_details"][0]["ver"] == delegation.mandate.version
    assert claims["aud"] == delegation.issuer.adherent
    assert claims["exp"] - claims["iat"] <= 300
    assert claims["cnf"] == {"jkt": delegation.client.dpop.kid}
    assert (claims["acr"], body["token_type"], body["issued_token_type"]) == ("mfa", "DPoP", ACCESS_TOKEN)
    assert "refresh_token" not in body and "adherent" not in claims


async def test_granted_is_an_intersection(delegation: Delegation) -> None:
    answer = await delegation.exchange(scope="declaration.read payment.order mandate.manage leave.read")
    assert answer.json()["scope"] == "declaration.read"


async def test_the_resource_narrows_too(delegation: Delegation) -> None:
    answer = await delegation.exchange(resource=delegation.issuer.documents)
    assert answer.json()["scope"] == "attestation.read attestation.request"


async def test_nothing_in_common_is_invalid_scope(delegation: Delegation) -> None:
    refused(await delegation.exchange(scope="mandate.manage"), "invalid_scope")


async def test_an_unknown_resource_is_invalid_target(delegation: Delegation) -> None:
    refused(await delegation.exchange(resource="https://elsewhere.example/api"), "invalid_target")


async def test_unknown_foreign_pending_and_dead_mandates_are_one_answer(
    delegation: Delegation, identity_db: Database
) -> None:
    issuer = delegation.issuer
    other = await a_scene(identity_db, issuer.clock(), caisse=issuer.caisse)
    foreign = await an_active_mandate(identity_db, other, issuer.clock())
    pending = await an_offer(identity_db, other, issuer.clock(), "leave")
    answers = [
        await delegation.exchange(subject_token=public_id("mdt", handle))
        for handle in (new_id(), foreign.id, pending.id)
    ]
    answers.append(await delegation.exchange(subject_token="mdt_nonsense"))
    async with identity_db.transaction(issuer.caisse) as tx:
        await revoke(
            tx,
            delegation.scene.firm,
            delegation.mandate.id,
            key=a_key(),
            now=issuer.clock(),
            notices=notices(),
        )
    answers.append(await delegation.exchange())
    assert {(answer.status_code, answer.text) for answer in answers} == {(400, answers[0].text)}
    refused(answers[0])


async def test_a_delegated_token_opens_no_second_hop(delegation: Delegation) -> None:
    delegated = (await delegation.exchange(resource=delegation.issuer.documents)).json()["access_token"]
    refused(await delegation.exchange(actor_token=delegated))
    refused(await delegation.exchange(subject_token=delegated))


async def test_subject_and_actor_swapped_are_refused(delegation: Delegation) -> None:
    refused(
        await delegation.exchange(
            subject_token=delegation.actor, actor_token=public_id("mdt", delegation.mandate.id)
        )
    )


async def test_the_actor_token_belongs_to_the_calling_client_and_key(delegation: Delegation) -> None:
    other = await cabinet_client(delegation.issuer)
    theirs = await actor_token(delegation.issuer, other, delegation.scene.member)
    refused(await delegation.exchange(actor_token=theirs))
    delegation.client.dpop = SigningKey.generate("ES256")
    refused(await delegation.exchange(), "invalid_dpop_proof")


async def test_a_collaborator_without_a_second_factor_gets_nothing(delegation: Delegation) -> None:
    weak = await actor_token(delegation.issuer, delegation.client, delegation.scene.member, acr="pwd")
    refused(await delegation.exchange(actor_token=weak))


async def test_a_service_token_is_no_actor(delegation: Delegation) -> None:
    answer = await delegation.client.post("/token", {"grant_type": CLIENT_CREDENTIALS})
    refused(await delegation.exchange(actor_token=answer.json()["access_token"]))


async def test_an_expired_or_revoked_actor_token_is_refused(delegation: Delegation) -> None:
    await delegation.client.post("/revoke", {"token": delegation.actor or ""})
    refused(await delegation.exchange())
    anew = await actor_token(delegation.issuer, delegation.client, delegation.scene.member)
    delegation.issuer.clock.forward(minutes=11)
    refused(await delegation.exchange(actor_token=anew))


async def test_the_token_dies_with_the_actor_token(delegation: Delegation) -> None:
    delegation.issuer.clock.forward(minutes=8)
    claims = claims_of((await delegation.exchange()).json()["access_token"])
    assert claims["exp"] == claims_of(delegation.actor or "")["exp"]


async def test_details_only_narrow(delegation: Delegation) -> None:
    est = public_id("est", delegation.scene.establishment_id)
    narrowed = await delegation.exchange(
        authorization_details=f'[{{"type":"mandate","establishments":["{est}"]}}]'
    )
    assert narrowed.json()["authorization_details"][0]["establishments"] == [est]
    for named in (
        [], ["banana"], [public_id("est", new_id())], [est, public_id("est", new_id())], ["*", est], [est, "*"], [""],
    ):  # fmt: skip
        wrong = msgspec.json.encode([{"type": "mandate", "establishments": named}]).decode()
        answer = await delegation.exchange(authorization_details=wrong)
        refused(answer, "invalid_authorization_details")
        assert "establishments" in answer.json()["error_description"]
    whole = await delegation.exchange(authorization_details='[{"type":"mandate","establishments":["*"]}]')
    assert whole.json()["authorization_details"][0]["establishments"] == ["*"]
    for wrong in ('[{"type":"other"}]', '[{"type":"mandate","amount_cap_cents":1}]', '{"type":"mandate"}', "[]",
                  '[{"type":"mandate","unknown":1}]'):  # fmt: skip
        refused(await delegation.exchange(authorization_details=wrong), "invalid_authorization_details")


async def test_introspection_tells_the_same_act_and_details_until_the_mandate_changes(
    delegation: Delegation, identity_db: Database
) -> None:
    issuer = delegation.issuer
    server = await issuer.client(grant_types=(CLIENT_CREDENTIALS,), response_types=(), redirect_uris=(),
                                 introspects=(issuer.adherent,))  # fmt: skip
    token = (await delegation.exchange()).json()["access_token"]
    told = (await server.post("/introspect", {"token": token})).json()
    claims = claims_of(token)
    assert told["active"] and told["act"] == claims["act"]
    assert told["authorization_details"] == claims["authorization_details"]
    async with identity_db.transaction(issuer.caisse) as tx:
        await revoke(
            tx,
            delegation.scene.firm,
            delegation.mandate.id,
            key=a_key(),
            now=issuer.clock(),
            notices=notices(),
        )
    assert (await server.post("/introspect", {"token": token})).json() == {"active": False}


async def test_the_mandate_of_another_caisse_is_unknown_here(
    delegation: Delegation, identity_db: Database
) -> None:
    from libs.common.values.caisse_slug import parse_caisse_slug

    elsewhere = parse_caisse_slug("grand-ouest")
    scene = await a_scene(identity_db, delegation.issuer.clock(), caisse=elsewhere)
    mandate = await an_active_mandate(identity_db, scene, delegation.issuer.clock())
    refused(await delegation.exchange(subject_token=public_id("mdt", mandate.id)))


async def test_a_departed_colleague_gets_nothing(delegation: Delegation, identity_db: Database) -> None:
    async with identity_db.across_caisses() as tx:
        await tx.execute(
            "UPDATE collaborator SET state = 'left' WHERE person_id = $1", delegation.scene.member
        )
    refused(await delegation.exchange())


async def test_a_mandate_past_its_end_gives_nothing(delegation: Delegation) -> None:
    issuer = delegation.issuer
    issuer.clock.forward(days=366)
    actor = await actor_token(issuer, delegation.client, delegation.scene.member)
    refused(await delegation.exchange(actor_token=actor))
    issuer.clock.now -= timedelta(days=366)

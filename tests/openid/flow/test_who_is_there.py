"""Of the person before a request: their own consents, in force, and the firms and cabinets that they still have."""

from datetime import timedelta

import httpx
import pytest

from libs.common.database.pool import Database
from libs.common.values.identifiers import public_id
from services.identity.cabinets.leave import remove_collaborator
from services.identity.openid.completion import CONSENT_LASTS
from tests.identity.delegation.parties import a_scene
from tests.openid.party import Issuer, Party, Somebody, callback, claims_of


async def signed_in(issuer: Issuer, **account: int) -> Somebody:
    return await (await issuer.person(**account)).sign_in()


def asks_for_consent(page: httpx.Response) -> bool:
    return page.status_code == 200 and 'id="accept"' in page.text


async def agreed(client: Party, who: Somebody) -> None:
    assert "code" in await client.answer(who)
    assert "code" in callback(await client.authorize(who))


async def test_a_consent_is_of_one_person_to_one_client(issuer: Issuer) -> None:
    client, another = [await issuer.client(consent="explicit") for _ in range(2)]
    who, somebody_else = await signed_in(issuer, firms=0), await signed_in(issuer, firms=0)
    await agreed(client, who)
    assert asks_for_consent(await client.authorize(somebody_else))
    assert asks_for_consent(await another.authorize(who))


async def test_a_consent_lasts_a_year(issuer: Issuer) -> None:
    client, who = await issuer.client(consent="explicit"), await signed_in(issuer)
    await agreed(client, who)
    issuer.clock.now += CONSENT_LASTS
    assert asks_for_consent(await client.authorize(await who.sign_in()))


async def test_a_consent_taken_back_is_asked_again(issuer: Issuer, identity_db: Database) -> None:
    client, who = await issuer.client(consent="explicit"), await signed_in(issuer)
    await agreed(client, who)
    async with identity_db.transaction(issuer.caisse) as tx:
        await tx.execute("UPDATE consent SET revoked_at = $2 WHERE person_id = $1", who.id, issuer.clock())
    assert asks_for_consent(await client.authorize(who))


GONE = [
    "UPDATE account SET state = 'closed' WHERE id = $1",
    "UPDATE adherent SET state = 'struck_off' WHERE id = (SELECT adherent_id FROM account WHERE id = $1)",
]


@pytest.mark.parametrize("gone", GONE, ids=["account", "firm"])
async def test_a_firm_that_is_gone_is_no_choice(issuer: Issuer, identity_db: Database, gone: str) -> None:
    """The one that is left is chosen by itself, and nobody acts for the other."""
    client, who = await issuer.client(), await signed_in(issuer, firms=2)
    assert "code" not in (await client.authorize(who)).headers.get("location", "")
    (left_id, _), (_, kept) = who.accounts
    async with identity_db.transaction(issuer.caisse) as tx:
        await tx.execute(gone, left_id)
    code = callback(await client.authorize(who))["code"]
    token = (await client.redeem(code)).json()["access_token"]
    assert claims_of(token)["adherent"] == public_id("adh", kept)


async def test_a_cabinet_is_a_choice_of_who_works_there(issuer: Issuer, identity_db: Database) -> None:
    scene = await a_scene(identity_db, issuer.clock(), caisse=issuer.caisse)
    client, stranger = await issuer.client(), await signed_in(issuer)
    assert "code" in callback(await client.authorize(stranger))

    member = await Somebody(issuer, scene.member, "").sign_in()
    async with identity_db.transaction(issuer.caisse) as tx:
        await tx.execute(
            "UPDATE account SET person_id = $1 WHERE id = $2", scene.member, stranger.accounts[0][0]
        )
    assert 'value="cabinet"' in (await client.authorize(member)).text
    async with identity_db.transaction(issuer.caisse) as tx:
        await remove_collaborator(tx, scene.cabinet, scene.member, now=issuer.clock() - timedelta(minutes=1))
    await member.sign_in()
    assert "code" in callback(await client.authorize(member))

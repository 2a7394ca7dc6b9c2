"""Rich authorization requests (RFC 9396), from the request to the token response: given back, never widened."""

import json

import pytest

from libs.common.values.identifiers import public_id
from tests.openid.party import Issuer, Party, Somebody, claims_of

UNKNOWN = '[{"type":"payment"}]'


@pytest.fixture
async def who(issuer: Issuer) -> Somebody:
    return await (await issuer.person(firms=2)).sign_in()


@pytest.fixture
async def client(issuer: Issuer) -> Party:
    return await issuer.client(grant_types=("authorization_code", "refresh_token", "client_credentials"))


async def named(who: Somebody, account: int) -> str:
    async with who.issuer.db.transaction(who.issuer.caisse) as tx:
        number = await tx.fetchval(
            "SELECT adherent_number FROM adherent WHERE id = $1", who.accounts[account][1]
        )
    return json.dumps([{"type": "adherent", "identifier": f"{who.issuer.caisse}:{number}"}])


async def test_the_token_response_gives_the_granted_detail_back(client: Party, who: Somebody) -> None:
    """RFC 9396 §7."""
    asked = await named(who, 1)
    tokens = await client.tokens(who, authorization_details=asked)
    refreshed = (await client.refresh(tokens["refresh_token"])).json()
    again = (await client.refresh(tokens["refresh_token"], authorization_details=asked)).json()
    for answer in (tokens, refreshed, again):
        assert answer["authorization_details"] == json.loads(asked)
        claims = claims_of(answer["access_token"])
        # In a token, details are a mandate's: a person's own says its firm by `adherent`.
        assert claims["adherent"] == public_id("adh", who.accounts[1][1])
        assert "authorization_details" not in claims


async def test_nothing_beyond_the_grant_at_the_token_endpoint(client: Party, who: Somebody) -> None:
    """RFC 9396 §6; openid.md line 30."""
    asked, other = await named(who, 1), await named(who, 0)
    code = await client.code(who, authorization_details=asked)
    for wrong in (UNKNOWN, other, "[]", "no JSON", '[{"type":"mandate"}]'):
        refused = await client.redeem(code, authorization_details=wrong)
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_authorization_details"), wrong
    tokens = (await client.redeem(code, authorization_details=asked)).json()
    assert tokens["authorization_details"] == json.loads(asked)
    for wrong in (UNKNOWN, other):
        refused = await client.refresh(tokens["refresh_token"], authorization_details=wrong)
        assert refused.json()["error"] == "invalid_authorization_details"


async def test_the_firm_of_a_grant_may_be_named_though_it_was_not_asked(
    issuer: Issuer, client: Party
) -> None:
    who = await (await issuer.person()).sign_in()
    tokens = await client.tokens(who)
    assert "authorization_details" not in tokens
    asked = await named(who, 0)
    answer = (await client.refresh(tokens["refresh_token"], authorization_details=asked)).json()
    assert answer["authorization_details"] == json.loads(asked)


async def test_a_client_s_own_token_has_no_details(client: Party) -> None:
    refused = await client.post(
        "/token", {"grant_type": "client_credentials", "authorization_details": UNKNOWN}
    )
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_authorization_details")

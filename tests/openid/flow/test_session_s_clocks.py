"""Without offline access, what a session granted lives by the session's own clocks: two hours idle, twelve in all."""

import pytest

from tests.openid.party import Issuer, Party, Somebody, callback, claims_of


@pytest.fixture
async def who(issuer: Issuer) -> Somebody:
    return await (await issuer.person()).sign_in()


async def is_active(client: Party, token: str) -> bool:
    return (await client.post("/introspect", {"token": token})).json()["active"]


async def test_a_refresh_token_does_not_outlive_an_idle_session(issuer: Issuer, who: Somebody) -> None:
    client = await issuer.client()
    tokens = await client.tokens(who)
    issuer.clock.forward(minutes=119)
    assert await is_active(client, tokens["refresh_token"])
    issuer.clock.forward(minutes=1)
    assert not await is_active(client, tokens["refresh_token"])
    assert (await client.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"


async def test_an_application_in_use_keeps_its_session_from_idling(issuer: Issuer, who: Somebody) -> None:
    client = await issuer.client()
    token = (await client.tokens(who))["refresh_token"]
    for _ in range(6):
        issuer.clock.forward(minutes=110)
        assert (await client.refresh(token)).status_code == 200
    # The session itself, in its browser, is the same one.
    assert "code" in callback(await client.authorize(who, prompt="none"))
    issuer.clock.forward(minutes=60)
    assert (await client.refresh(token)).json()["error"] == "invalid_grant"
    assert callback(await client.authorize(who, prompt="none"))["error"] == "login_required"


async def test_a_late_grant_ends_with_its_session(issuer: Issuer, who: Somebody) -> None:
    client = await issuer.client()
    early = (await client.tokens(who))["refresh_token"]
    for _ in range(7):
        issuer.clock.forward(minutes=102)
        assert (await client.refresh(early)).status_code == 200
    late = await client.tokens(who)
    async with issuer.db.transaction(issuer.caisse) as tx:
        left = await tx.fetchval(
            "SELECT expires_at FROM authorization_grant WHERE client_id = $1 ORDER BY created_at DESC LIMIT 1",
            client.client_id,
        )
    assert (left - issuer.clock()).total_seconds() <= 360
    claims = claims_of(late["access_token"])
    assert late["expires_in"] <= 360 and claims["exp"] - claims["iat"] <= 360
    issuer.clock.forward(minutes=6)
    assert (await client.refresh(late["refresh_token"])).json()["error"] == "invalid_grant"


async def test_offline_access_neither_ends_with_the_session_nor_keeps_it(
    issuer: Issuer, who: Somebody
) -> None:
    client = await issuer.client(consent="explicit")
    token = (await client.tokens(who, scope="openid offline_access"))["refresh_token"]
    for _ in range(2):
        issuer.clock.forward(minutes=61)
        assert (await client.refresh(token)).status_code == 200
    assert callback(await client.authorize(who, prompt="none"))["error"] == "login_required"
    issuer.clock.forward(hours=11)
    assert (await client.refresh(token)).status_code == 200

"""How a flow ends: once, with one answer, at an address the client of the moment still has."""

from typing import Any
from urllib.parse import urlencode

import pytest

from libs.common.access.signatures import SigningKey, sign_compact
from services.identity.openid.write_client import disable_client
from tests.openid.flow.test_claims_and_consent import changed
from tests.openid.party import Issuer, Party, Somebody, callback

OLD = "https://old.example/cb"


@pytest.fixture
async def who(issuer: Issuer) -> Somebody:
    return await (await issuer.person()).sign_in()


async def at_sign_in(client: Party, somebody: Somebody, **changes: Any) -> str:
    """The flow of somebody who has yet to sign in."""
    answer = await client.authorize(somebody, **changes)
    return answer.headers["location"].partition("flow=")[2]


async def signed_in(somebody: Somebody, flow: str) -> Any:
    somebody.issuer.clock.forward(seconds=1)
    await somebody.sign_in()
    return await somebody.get(f"/{somebody.issuer.caisse}/authorize/continue?flow={flow}")


async def test_a_removed_redirect_uri_receives_no_code(issuer: Issuer, who: Somebody) -> None:
    client = await issuer.client(redirect_uris=("https://client.example/cb", OLD))
    stranger = await issuer.person()
    flow = await at_sign_in(client, stranger, redirect_uri=OLD)
    pushed = await client.authorize_url(redirect_uri=OLD)
    await changed(issuer, client, redirect_uris=("https://client.example/cb",))
    for answer in (await who.get(pushed), await signed_in(stranger, flow)):
        assert answer.status_code == 400 and "location" not in answer.headers
        assert "redirect_uri" in answer.text


async def test_a_removed_redirect_uri_hears_no_refusal(issuer: Issuer, who: Somebody) -> None:
    client = await issuer.client(redirect_uris=("https://client.example/cb", OLD), consent="explicit")
    page = await client.authorize(who, redirect_uri=OLD)
    await changed(issuer, client, redirect_uris=("https://client.example/cb",))
    answer = await who.submit(page, choice="refuse")
    assert answer.status_code == 400 and "location" not in answer.headers


async def test_a_client_disabled_meanwhile_hears_nothing(issuer: Issuer, who: Somebody) -> None:
    client = await issuer.client(token_endpoint_auth_method="none")
    stranger = await issuer.person()
    flow = await at_sign_in(client, stranger)
    page = await client.authorize(who)
    async with issuer.db.transaction(issuer.caisse) as tx:
        await disable_client(tx, client.client_id, now=issuer.clock())
    refusal = await who.submit(page, choice="refuse")
    for answer in (refusal, await signed_in(stranger, flow)):
        assert answer.status_code == 400 and "location" not in answer.headers


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"resources": ()}, "invalid_target"),
        ({"scope": "profile"}, "invalid_scope"),
        ({"grant_types": ("client_credentials",), "response_types": ()}, "unauthorized_client"),
    ],
)
async def test_what_the_client_lost_meanwhile_is_lost(
    issuer: Issuer, changes: dict[str, Any], error: str
) -> None:
    client = await issuer.client()
    flow = await at_sign_in(client, stranger := await issuer.person(), resource=issuer.adherent)
    await changed(issuer, client, **changes)
    assert callback(await signed_in(stranger, flow))["error"] == error


@pytest.mark.parametrize("came", ["by GET", "by POST", "at the sign-in page"])
@pytest.mark.parametrize("rule", ["require_pushed_authorization_requests", "require_signed_request_object"])
async def test_a_request_under_way_came_as_its_client_must_ask_now(
    issuer: Issuer, who: Somebody, rule: str, came: str
) -> None:
    """openid.md line 8, RFC 9101 §10.5: a client put under the rule since is answered as if it always was."""
    keys = {"jwks": {"keys": [SigningKey.generate("ES256").published_jwk()]}}
    client = await issuer.client(token_endpoint_auth_method="none", consent="explicit", **keys)
    if came == "by POST":
        posted = await who.post(f"/{issuer.caisse}/authorize", client.request())
        await changed(issuer, client, **{rule: True})
        answer = await who.get(posted.headers["location"])
    elif came == "by GET":
        page = await client.authorize(who)
        await changed(issuer, client, **{rule: True})
        answer = await who.get((await who.submit(page, choice="accept")).headers["location"])
    else:
        flow = await at_sign_in(client, stranger := await issuer.person())
        await changed(issuer, client, **{rule: True})
        answer = await signed_in(stranger, flow)
    assert callback(answer)["error"] == "invalid_request"


@pytest.mark.parametrize("rule", ["require_pushed_authorization_requests", "require_signed_request_object"])
async def test_a_request_that_came_as_it_must_goes_on(issuer: Issuer, who: Somebody, rule: str) -> None:
    client = await issuer.client()
    said = client.request() | {"iss": client.client_id, "aud": issuer.url}
    dates = {"nbf": client.now(), "exp": client.now() + 60}
    signed = sign_compact(client.key, {"kid": client.key.kid}, said | dates)
    pushed = await client.post("/par", {"client_id": client.client_id, "request": signed})
    query = {"client_id": client.client_id, "request_uri": pushed.json()["request_uri"]}
    await changed(issuer, client, **{rule: True})
    assert "code" in callback(await who.get(f"/{issuer.caisse}/authorize?{urlencode(query)}"))


async def test_a_refusal_is_final(issuer: Issuer, who: Somebody) -> None:
    client = await issuer.client(consent="explicit")
    url = await client.authorize_url(prompt="consent")
    page = await who.get(url)
    assert callback(await who.submit(page, choice="refuse"))["error"] == "access_denied"
    # The back button, then "J'accepte": the same flow, and the request as it was pushed.
    accepted = await who.submit(page, choice="accept")
    assert accepted.status_code == 400 and "location" not in accepted.headers
    assert (await who.get(url)).status_code == 400


async def test_an_error_told_to_the_client_is_final(issuer: Issuer) -> None:
    client = await issuer.client()
    stranger = await issuer.person()
    url = await client.authorize_url(prompt="none")
    assert callback(await stranger.get(url))["error"] == "login_required"
    await stranger.sign_in()
    assert (await stranger.get(url)).status_code == 400


async def test_a_posted_request_is_judged_as_any_other(issuer: Issuer, who: Somebody) -> None:
    public = await issuer.client(token_endpoint_auth_method="none")
    address = f"/{issuer.caisse}/authorize"
    wrong = await who.post(address, public.request(redirect_uri=OLD))
    assert wrong.status_code == 400 and "location" not in wrong.headers
    assert callback(await who.post(address, public.request(scope="nothing")))["error"] == "invalid_scope"
    confidential = await issuer.client()
    assert callback(await who.post(address, confidential.request()))["error"] == "invalid_request"
    # A request that was pushed goes on as it is.
    pushed = (await confidential.push()).json()["request_uri"]
    onward = await who.post(address, {"client_id": confidential.client_id, "request_uri": pushed})
    assert "code" in callback(await who.get(onward.headers["location"]))
    assert (await who.get(onward.headers["location"])).status_code == 400

"""What an authorization request may not say: each check of its list, by itself."""

import re
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from libs.common.access.signatures import sign_compact
from services.identity.openid.clients import CLIENT_CREDENTIALS
from services.identity.openid.write_client import disable_client
from tests.openid.flow.test_claims_and_consent import changed
from tests.openid.flow.test_endings import at_sign_in, signed_in
from tests.openid.party import Issuer, Party, Somebody, callback


@pytest.fixture
async def who(issuer: Issuer) -> Somebody:
    return await (await issuer.person()).sign_in()


@pytest.fixture
async def public(issuer: Issuer) -> Party:
    return await issuer.client(token_endpoint_auth_method="none")


def reads_an_error(answer: httpx.Response) -> None:
    assert answer.status_code == 400 and "location" not in answer.headers
    assert 'id="failed"' in answer.text


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"response_mode": "jwt"}, "invalid_request"),
        ({"max_age": "-1"}, "invalid_request"),
        ({"max_age": "soon"}, "invalid_request"),
        ({"max_age": "9" * 10}, "invalid_request"),
        ({"display": "hologram"}, "invalid_request"),
        ({"nonce": "n" * 2049}, "invalid_request"),
        ({"login_hint": "h" * 321}, "invalid_request"),
        ({"prompt": "none login"}, "invalid_request"),
        ({"prompt": "create"}, "invalid_request"),
        ({"dpop_jkt": "short"}, "invalid_request"),
        ({"scope": "unknown"}, "invalid_scope"),
    ],
    ids=str,
)
async def test_a_malformed_request_is_told_to_the_client(
    public: Party, who: Somebody, wrong: dict[str, str], error: str
) -> None:
    """OpenID Connect Core §3.1.2.6, RFC 9449 §10."""
    assert callback(await public.authorize(who, **wrong))["error"] == error


async def test_a_method_without_its_challenge_is_no_pkce(issuer: Issuer, who: Somebody) -> None:
    """RFC 7636 §4.3: a client that may leave PKCE out leaves all of it out."""
    plain = await issuer.plain_client()
    assert callback(await plain.authorize(who, code_challenge_method="S256"))["error"] == "invalid_request"


async def test_a_hint_given_to_another_client_is_none(issuer: Issuer, who: Somebody) -> None:
    """OpenID Connect Core §3.1.2.1: it would tell one client whom another knows."""
    mine, theirs = await issuer.plain_client(), await issuer.plain_client()
    hint = (await theirs.tokens(who))["id_token"]
    assert callback(await mine.authorize(who, id_token_hint=hint))["error"] == "invalid_request"
    assert "code" in callback(await theirs.authorize(who, id_token_hint=hint, prompt="none"))


async def test_a_state_has_a_size_limit(public: Party, who: Somebody) -> None:
    """It goes back in an address: too long a one has nowhere to go."""
    assert (await public.answer(who, state="s" * 2048))["state"] == "s" * 2048
    reads_an_error(await public.authorize(who, state="s" * 2049))


async def test_a_client_without_the_code_flow_obtains_no_code(issuer: Issuer, who: Somebody) -> None:
    """openid.md line 3; RFC 6749 §4.1.2.1."""
    machine = await issuer.client(grant_types=(CLIENT_CREDENTIALS,), response_types=())
    pushed = await machine.push()
    assert (pushed.status_code, pushed.json()["error"]) == (400, "unauthorized_client")


async def test_a_client_that_must_use_pkce_since_is_answered_without_it_no_more(issuer: Issuer) -> None:
    """openid.md line 4: the request was good when it came, by a profile that its client has left."""
    plain = await issuer.client(profile="compat", jwks=None, token_endpoint_auth_method="client_secret_post")
    stranger = await issuer.person()
    flow = await at_sign_in(plain, stranger)
    now = {"profile": "standard", "token_endpoint_auth_method": "none", "consent": "explicit"}
    await changed(issuer, plain, **now)
    assert callback(await signed_in(stranger, flow))["error"] == "invalid_request"


@pytest.mark.parametrize("inner", ["request", "request_uri"])
async def test_a_request_object_holds_no_other(issuer: Issuer, inner: str) -> None:
    """RFC 9101 §4."""
    client = await issuer.client()
    now = client.now()
    inside = {"iss": client.client_id, "aud": issuer.url, "exp": now + 300, "nbf": now, inner: "x"}
    signed = sign_compact(client.key, {"kid": client.key.kid}, client.request() | inside)
    pushed = await client.post("/par", {"request": signed})
    assert (pushed.status_code, pushed.json()["error"]) == (400, "invalid_request_object")


async def test_a_posted_request_of_nobody_s_client_is_a_page(issuer: Issuer, who: Somebody) -> None:
    """openid.md line 2, by POST: nothing is kept for it."""
    client = await issuer.client(token_endpoint_auth_method="none")
    async with issuer.db.transaction(issuer.caisse) as tx:
        await disable_client(tx, client.client_id, now=issuer.clock())
    for named in (client.client_id, "nobody"):
        reads_an_error(await posted(who, client.request(client_id=named)))


async def posted(who: Somebody, form: dict[str, Any]) -> httpx.Response:
    return await who.post(f"/{who.issuer.caisse}/authorize", form)


@pytest.mark.parametrize("handle", ["", "x", "A" * 43, "é", "../x", "'--"])
async def test_a_pushed_request_of_nobody_is_a_page(issuer: Issuer, who: Somebody, handle: str) -> None:
    """RFC 9126 §4: unknown is as expired, or used."""
    client = await issuer.client()
    form = {"client_id": client.client_id, "request_uri": f"urn:ietf:params:oauth:request_uri:{handle}"}
    reads_an_error(await who.get(f"/{issuer.caisse}/authorize?{urlencode(form)}"))


async def test_two_tabs_are_two_requests(issuer: Issuer) -> None:
    """One browser, one person, two clients: each answer goes to who asked for it, with its own state."""
    first = await issuer.client(redirect_uris=("https://first.example/cb",))
    second = await issuer.client(redirect_uris=("https://second.example/cb",))
    stranger = await issuer.person()
    flows = [await at_sign_in(client, stranger, state=client.client_id) for client in (first, second)]
    # The later first: both are still under way when it is found.
    for client, flow in reversed(list(zip((first, second), flows, strict=True))):
        answer = await signed_in(stranger, flow)
        assert answer.headers["location"].startswith(client.metadata.redirect_uris[0])
        assert callback(answer)["state"] == client.client_id


async def test_the_same_person_goes_on_where_the_choice_is_asked(issuer: Issuer, who: Somebody) -> None:
    """`prompt=select_account`, answered by the button of whoever is there: of this request, and this session."""
    client = await issuer.client()
    page = await client.authorize(who, prompt="select_account")
    again = await client.authorize(who, prompt="select_account")
    onward = await who.submit(page, choice="same")
    assert "code" in callback(await who.get(onward.headers["location"]))
    other = re.search(r'name="flow" value="([^"]+)"', again.text)
    assert other is not None
    asked = await who.get(f"/{issuer.caisse}/authorize/continue?flow={other[1]}")
    assert asked.status_code == 200 and 'id="other"' in asked.text


async def test_a_pushed_request_is_no_other_client_s(issuer: Issuer, who: Somebody) -> None:
    """RFC 9126 §2.2, by GET and by POST."""
    client, other = await issuer.client(), await issuer.client()
    uri = (await client.push()).json()["request_uri"]
    form = {"client_id": other.client_id, "request_uri": uri}
    reads_an_error(await who.get(f"/{issuer.caisse}/authorize?{urlencode(form)}"))
    onward = await posted(who, form)
    reads_an_error(await who.get(onward.headers["location"]))

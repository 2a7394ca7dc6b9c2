"""RP-initiated logout: one test per judged module (openid.md §6)."""

import asyncio
from urllib.parse import urlencode

import httpx
import pytest

from libs.common.access.signatures import SigningKey, sign_compact
from libs.common.keys.key_encryption import KeyEncryption
from services.identity.openid.write_client import disable_client
from services.identity.sign_in.session import cookie_name
from services.identity.signing_keys.rotation import rotate, sweep_keys
from tests.openid.party import Issuer, Party, Somebody, callback, claims_of, header_of

OUT = "https://client.example/out"


@pytest.fixture
async def client(issuer: Issuer) -> Party:
    return await issuer.plain_client()


@pytest.fixture
async def who(issuer: Issuer) -> Somebody:
    return await (await issuer.person()).sign_in()


async def leave(who: Somebody, **parameters: str | None) -> httpx.Response:
    query = urlencode({name: value for name, value in parameters.items() if value is not None})
    return await who.get(f"/{who.issuer.caisse}/end-session?{query}")


async def is_signed_in(client: Party, who: Somebody, cookie: str) -> bool:
    """With the cookie as it was: signing out must kill the session, not only forget it."""
    who.cookies[cookie_name(who.issuer.caisse)] = cookie
    return "code" in callback(await client.authorize(who, prompt="none"))


def the_cookie(who: Somebody) -> str:
    return who.cookies[cookie_name(who.issuer.caisse)]


def says_goodbye(answer: httpx.Response) -> None:
    assert answer.status_code == 200 and 'id="signed-out"' in answer.text


def reads_an_error(answer: httpx.Response) -> None:
    assert answer.status_code == 400 and 'id="failed"' in answer.text


async def test_rp_initiated_logout(client: Party, who: Somebody) -> None:
    hint, cookie = (await client.tokens(who))["id_token"], the_cookie(who)
    answer = await leave(who, id_token_hint=hint, post_logout_redirect_uri=OUT, state="s")
    assert (answer.status_code, answer.headers["location"]) == (303, f"{OUT}?state=s")
    assert not await is_signed_in(client, who, cookie)


async def test_rp_initiated_logout_discovery_endpoint_verification(issuer: Issuer) -> None:
    async with issuer.http() as http:
        told = (await http.get(f"/{issuer.caisse}/.well-known/openid-configuration")).json()
    assert told["end_session_endpoint"] == f"{issuer.url}/end-session"


async def test_rp_initiated_logout_bad_post_logout_redirect_uri(client: Party, who: Somebody) -> None:
    hint, cookie = (await client.tokens(who))["id_token"], the_cookie(who)
    reads_an_error(await leave(who, id_token_hint=hint, post_logout_redirect_uri=OUT + "/other"))
    assert await is_signed_in(client, who, cookie)


async def test_rp_initiated_logout_modified_id_token_hint(client: Party, who: Somebody) -> None:
    head, claims, signature = (await client.tokens(who))["id_token"].split(".")
    forged = f"{head}.{claims}.{signature[:-8]}AAAAAAAA"
    reads_an_error(await leave(who, id_token_hint=forged, post_logout_redirect_uri=OUT))


async def test_rp_initiated_logout_bad_id_token_hint(client: Party, who: Somebody) -> None:
    reads_an_error(await leave(who, id_token_hint="not-a-token", post_logout_redirect_uri=OUT))


async def test_a_hint_given_to_another_client_serves_no_other(
    client: Party, who: Somebody, issuer: Issuer
) -> None:
    """RP-Initiated Logout §2: when both are said, the client is the one that the hint was issued to."""
    hint, cookie = (await client.tokens(who))["id_token"], the_cookie(who)
    other = await issuer.plain_client(post_logout_redirect_uris=("https://other.example/out",))
    for back in (OUT, "https://other.example/out", None):
        answer = await leave(
            who, id_token_hint=hint, client_id=other.client_id, post_logout_redirect_uri=back
        )
        reads_an_error(answer)
    assert await is_signed_in(client, who, cookie)


async def test_rp_initiated_logout_no_id_token_hint(client: Party, who: Somebody) -> None:
    cookie = the_cookie(who)
    page = await leave(who, client_id=client.client_id, post_logout_redirect_uri=OUT, state="s")
    assert page.status_code == 200 and 'id="confirm"' in page.text
    answer = await who.submit(page, choice="leave")
    assert answer.headers["location"] == f"{OUT}?state=s"
    assert not await is_signed_in(client, who, cookie)


async def test_rp_initiated_logout_no_params(client: Party, who: Somebody) -> None:
    cookie = the_cookie(who)
    says_goodbye(await who.submit(await leave(who), choice="leave"))
    assert not await is_signed_in(client, who, cookie)


async def test_rp_initiated_logout_no_post_logout_redirect_uri(client: Party, who: Somebody) -> None:
    hint = (await client.tokens(who))["id_token"]
    says_goodbye(await leave(who, id_token_hint=hint))


async def test_rp_initiated_logout_no_state(client: Party, who: Somebody) -> None:
    hint = (await client.tokens(who))["id_token"]
    answer = await leave(who, id_token_hint=hint, post_logout_redirect_uri=OUT)
    assert answer.headers["location"] == OUT


async def test_rp_initiated_logout_only_state(who: Somebody) -> None:
    says_goodbye(await who.submit(await leave(who, state="s"), choice="leave"))


async def test_rp_initiated_logout_query_added_to_post_logout_redirect_uri(
    client: Party, who: Somebody
) -> None:
    hint = (await client.tokens(who))["id_token"]
    reads_an_error(await leave(who, id_token_hint=hint, post_logout_redirect_uri=OUT + "?added=1"))


async def test_who_was_asked_before_a_client_was_stopped_is_not_sent_to_it(
    client: Party, who: Somebody, issuer: Issuer
) -> None:
    cookie = the_cookie(who)
    waiting = await leave(who, client_id=client.client_id, post_logout_redirect_uri=OUT)
    async with issuer.db.transaction(issuer.caisse) as tx:
        await disable_client(tx, client.client_id, now=issuer.clock())
    says_goodbye(await who.submit(waiting, choice="leave"))
    assert not await is_signed_in(await issuer.plain_client(), who, cookie)


async def test_one_may_stay(client: Party, who: Somebody) -> None:
    cookie = the_cookie(who)
    await who.submit(await leave(who), choice="stay")
    assert await is_signed_in(client, who, cookie)


async def test_a_page_of_another_site_cannot_press_the_button(client: Party, who: Somebody) -> None:
    """openid.md §4, "logout CSRF"."""
    cookie = the_cookie(who)
    answer = await who.post(f"/{who.issuer.caisse}/end-session/confirm", {"choice": "leave"})
    assert answer.status_code == 403
    assert await is_signed_in(client, who, cookie)


async def test_the_hint_of_another_session_asks_first(client: Party, who: Somebody, issuer: Issuer) -> None:
    other = await (await issuer.person()).sign_in()
    hint = (await client.tokens(other))["id_token"]
    page = await leave(who, id_token_hint=hint, post_logout_redirect_uri=OUT)
    assert page.status_code == 200 and 'id="confirm"' in page.text


async def posted(who: Somebody, **parameters: str) -> httpx.Response:
    answer = await who.post(f"/{who.issuer.caisse}/end-session", parameters)
    address = answer.headers["location"]
    assert answer.status_code == 303 and address.startswith(f"{who.issuer.url}/end-session")
    # openid.md line 19: neither the hint nor the state is in an address that we build.
    assert not any(value in address for value in parameters.values())
    return await who.get(address)


async def test_posting_asks_again_by_get(client: Party, who: Somebody) -> None:
    hint, cookie = (await client.tokens(who))["id_token"], the_cookie(who)
    answer = await posted(who, id_token_hint=hint, post_logout_redirect_uri=OUT, state="the-state")
    assert (answer.status_code, answer.headers["location"]) == (303, f"{OUT}?state=the-state")
    assert not await is_signed_in(client, who, cookie)
    says_goodbye(await who.get(f"/{who.issuer.caisse}/end-session"))


async def test_what_was_posted_outlives_the_confirmation_and_not_five_minutes(
    client: Party, who: Somebody, issuer: Issuer
) -> None:
    said = {"client_id": client.client_id, "post_logout_redirect_uri": OUT, "state": "the-state"}
    page = await posted(who, **said)
    answer = await who.submit(page, choice="leave")
    assert answer.headers["location"] == f"{OUT}?state=the-state"
    await who.sign_in()
    page = await posted(who, **said)
    issuer.clock.forward(minutes=6)
    says_goodbye(await who.submit(page, choice="leave"))


async def test_a_posted_forgery_is_an_error(client: Party, who: Somebody, issuer: Issuer) -> None:
    head, claims, _ = (await client.tokens(who))["id_token"].split(".")
    reads_an_error(
        await who.post(f"/{issuer.caisse}/end-session", {"id_token_hint": f"{head}.{claims}.AAAA"})
    )


async def test_a_sign_out_s_handle_is_no_request_of_a_client(
    client: Party, who: Somebody, issuer: Issuer
) -> None:
    answer = await who.post(f"/{issuer.caisse}/end-session", {"client_id": client.client_id})
    handle = answer.headers["location"].partition("asked=")[2]
    query = {"client_id": client.client_id, "request_uri": f"urn:ietf:params:oauth:request_uri:{handle}"}
    refused = await who.get(f"/{issuer.caisse}/authorize?{urlencode(query)}")
    assert refused.status_code == 400 and "invalid_request_uri" in refused.text


async def test_a_signed_userinfo_is_no_hint(who: Somebody, issuer: Issuer) -> None:
    client = await issuer.plain_client(userinfo_signed_response_alg="RS256")
    signed = (await client.userinfo((await client.tokens(who))["access_token"])).text
    assert callback(await client.authorize(who, id_token_hint=signed))["error"] == "invalid_request"
    reads_an_error(await leave(who, id_token_hint=signed))


async def rotated(issuer: Issuer, keys: KeyEncryption, **later: int) -> None:
    """The signer of the hints of these tests goes; its JWK Set has forgotten it after this long."""
    async with issuer.db.transaction(issuer.caisse) as tx:
        await rotate(tx, keys, "RS256", issuer.clock())
    issuer.clock.forward(**later)
    async with issuer.db.transaction(issuer.caisse) as tx:
        await sweep_keys(tx, keys, issuer.clock())
    await asyncio.sleep(1.1)  # a ring is believed for a second


async def test_a_hint_outlives_its_key(
    client: Party, who: Somebody, issuer: Issuer, keys: KeyEncryption
) -> None:
    tokens, cookie = await client.tokens(who), the_cookie(who)
    hint = tokens["id_token"]
    await rotated(issuer, keys, minutes=61)
    async with issuer.http() as http:
        published = (await http.get(f"/{issuer.caisse}/jwks")).json()["keys"]
    assert header_of(hint)["kid"] not in {key["kid"] for key in published}
    assert "code" in callback(await client.authorize(who, id_token_hint=hint, prompt="none"))
    answer = await leave(who, id_token_hint=hint, post_logout_redirect_uri=OUT, state="s")
    assert (answer.status_code, answer.headers["location"]) == (303, f"{OUT}?state=s")
    assert not await is_signed_in(client, who, cookie)


async def test_a_hint_that_nobody_can_judge_any_more_asks_first(
    client: Party, who: Somebody, issuer: Issuer
) -> None:
    signed = sign_compact(
        stranger := SigningKey.generate("ES256"),
        {"kid": stranger.kid, "typ": "JWT"},
        claims_of((await client.tokens(who))["id_token"]),
    )
    cookie = the_cookie(who)
    page = await leave(who, id_token_hint=signed, post_logout_redirect_uri=OUT)
    assert page.status_code == 200 and 'id="confirm"' in page.text
    assert await is_signed_in(client, who, cookie)
    says_goodbye(await who.submit(page, choice="leave"))
    await who.sign_in()
    page = await leave(who, id_token_hint=signed, client_id=client.client_id, post_logout_redirect_uri=OUT)
    assert (await who.submit(page, choice="leave")).headers["location"] == OUT


@pytest.mark.parametrize("is_there", [True, False])
async def test_a_client_that_was_stopped_leads_nobody_anywhere(
    client: Party, who: Somebody, issuer: Issuer, is_there: bool
) -> None:
    """Its people still sign out; its addresses are no place that the caisse's own sends them to."""
    hint, cookie = (await client.tokens(who))["id_token"], the_cookie(who)
    async with issuer.db.transaction(issuer.caisse) as tx:
        assert await disable_client(tx, client.client_id, now=issuer.clock())
    one = who if is_there else await issuer.person()
    says_goodbye(await leave(one, id_token_hint=hint, post_logout_redirect_uri=OUT, state="s"))
    says_goodbye(await leave(await issuer.person(), client_id=client.client_id, post_logout_redirect_uri=OUT))
    if is_there:
        current = await issuer.plain_client()
        assert not await is_signed_in(current, who, cookie)

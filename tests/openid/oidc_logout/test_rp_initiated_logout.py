"""RP-initiated logout: one test per judged module (openid.md §6)."""

from urllib.parse import urlencode

import httpx
import pytest

from services.identity.sign_in.session import cookie_name
from tests.openid.party import Issuer, Party, Somebody, callback

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


async def test_posting_asks_again_by_get(who: Somebody) -> None:
    answer = await who.post(f"/{who.issuer.caisse}/end-session", {"state": "s"})
    assert (answer.status_code, answer.headers["location"]) == (303, f"{who.issuer.url}/end-session?state=s")

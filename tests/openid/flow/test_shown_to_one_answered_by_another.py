"""Several tabs, one browser: a page answers for the person, the client and the rights that it showed, and no others."""

import re
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from services.identity.openid import store
from services.identity.openid.write_client import AT_THE_COMMAND_LINE, update_client
from services.identity.sign_in.session import cookie_name, current_session, open_session
from tests.openid.party import Issuer, Party, Somebody, callback, claims_of


@pytest.fixture
async def client(issuer: Issuer) -> Party:
    return await issuer.client(token_endpoint_auth_method="none", resources=())


async def takes_the_browser_of(other: Somebody, who: Somebody) -> None:
    """In another tab `other` signs in where `who` was: the same browser, another session."""
    other.cookies |= {name: value for name, value in who.cookies.items() if "browser" in name}
    await other.sign_in()


async def signs_in_again(who: Somebody) -> None:
    """As the sign-in page does it where somebody is signed in: the same session, begun anew."""
    issuer, now = who.issuer, who.issuer.clock()
    async with issuer.db.transaction(issuer.caisse) as tx:
        held = await current_session(tx, who.cookies[cookie_name(issuer.caisse)], now)
        opened = await open_session(tx, person_id=who.id, acr="pwd", amr=["pwd"], now=now, over=held)
    assert held is not None and opened.session.id == held.id
    who.cookies[cookie_name(issuer.caisse)] = opened.cookie


async def changed(issuer: Issuer, client: Party, **changes: Any) -> None:
    async with issuer.db.transaction(issuer.caisse) as tx:
        now = await store.load_client(tx, client.client_id)
        assert now is not None
        metadata = replace(client.metadata, **changes)
        await update_client(tx, now, metadata, now=issuer.clock(), plain_http=True, by=AT_THE_COMMAND_LINE)


def rights(page: httpx.Response) -> list[str]:
    found = re.search(r'<div id="rights">(.*?)</div>', page.text, re.DOTALL)
    assert found is not None, page.text[-1500:]
    return re.findall("<li>(?:<strong>)?(.*?)(?:</strong>)?</li>", found[1])


def account(page: httpx.Response) -> str:
    found = re.search(r"<strong[^>]*>(.*?)</strong>", page.text, re.DOTALL)
    assert found is not None, page.text[-1500:]
    return re.sub("<[^>]*>", "", found[1])


async def test_consent_shown_to_one_is_not_given_by_another(issuer: Issuer, client: Party) -> None:
    """Neither acts for a firm, so nothing but who they are tells the two pages apart."""
    shown_to, other = await issuer.person(firms=0), await issuer.person(firms=0)
    await shown_to.sign_in()
    page = await client.authorize(shown_to)
    await takes_the_browser_of(other, shown_to)
    onward = await other.submit(page, choice="accept")
    again = await other.get(onward.headers["location"])
    assert again.status_code == 200 and account(again) == other.email
    code = callback(await other.get((await other.submit(again, choice="accept")).headers["location"]))["code"]
    tokens = (await client.redeem(code)).json()
    assert claims_of(tokens["id_token"])["sub"].startswith("per_")


async def test_the_account_that_a_page_named_is_the_one_that_goes_on(issuer: Issuer, client: Party) -> None:
    shown_to, other = await issuer.person(), await issuer.person()
    await other.sign_in()
    await client.tokens(other)
    await shown_to.sign_in()
    issuer.clock.forward(seconds=5)
    page = await client.authorize(shown_to, prompt="select_account")
    assert account(page) == shown_to.email
    other.cookies |= {name: value for name, value in shown_to.cookies.items() if "browser" in name}
    onward = await other.submit(page, choice="same")
    again = await other.get(onward.headers["location"])
    assert again.status_code == 200 and account(again) == other.email
    assert "code" in callback(await other.get((await other.submit(again, choice="same")).headers["location"]))


async def test_a_client_that_shows_itself_smaller_is_given_no_more_than_it_showed(issuer: Issuer) -> None:
    """It pushes much, narrows itself before the page is shown, and widens while its person signs in again."""
    client = await issuer.client(consent="explicit", resources=())
    who = await (await issuer.person()).sign_in()
    issuer.clock.forward(seconds=50)
    asked = await client.authorize_url(scope="openid email offline_access", max_age="60")
    await changed(issuer, client, scope="openid")
    page = await who.get(asked)
    assert rights(page) == ["Savoir que vous êtes connecté"]
    issuer.clock.forward(seconds=20)
    onward = (await who.submit(page, choice="accept")).headers["location"]
    assert "/sign-in?flow=" in (await who.get(onward)).headers["location"]
    await changed(issuer, client)
    issuer.clock.forward(seconds=5)
    await signs_in_again(who)
    again = await who.get(onward)
    assert again.status_code == 200 and "Lire votre adresse électronique" in rights(again)
    await who.submit(again, choice="accept")
    tokens = (await client.redeem(callback(await who.get(onward))["code"])).json()
    assert tokens["scope"] == "email offline_access openid"

"""oidc-client-ts in Chromium, over https: sign-in, silent renewal, several tabs, back button, logout."""

import httpx
import pytest

from tests.openid.browser.conftest import App, Visitor, told
from tests.openid.running import RunningEspace


async def test_it_signs_in_and_calls_with_proof_of_its_key(visitor: Visitor) -> None:
    page = await visitor.tab()
    user = await visitor.sign_in(page)
    assert user["token_type"].lower() == "dpop"

    await page.click("#call")
    about = await told(page, "called 200")
    assert about["sub"] == user["sub"] and about["email"] == visitor.email


async def test_a_bound_token_is_nothing_without_its_key(
    visitor: Visitor, http: httpx.AsyncClient, running_espace: RunningEspace
) -> None:
    page = await visitor.tab()
    user = await visitor.sign_in(page)
    for scheme in ("Bearer", "DPoP"):
        stolen = await http.get(
            f"{running_espace.issuer}/userinfo", headers={"Authorization": f"{scheme} {user['access_token']}"}
        )
        assert stolen.status_code == 401, scheme


async def test_silent_renewal_rotates_the_refresh_token(visitor: Visitor) -> None:
    page = await visitor.tab()
    user = await visitor.sign_in(page)
    for _ in range(2):
        await page.click("#renew")
        renewed = await told(page, "renewed")
        assert renewed["sub"] == user["sub"]
        assert renewed["refresh_token"] != user["refresh_token"]
        assert renewed["access_token"] != user["access_token"]
        user = renewed
    await page.click("#call")
    await told(page, "called 200")


async def test_a_reload_finds_the_same_person(visitor: Visitor) -> None:
    page = await visitor.tab()
    user = await visitor.sign_in(page)
    await page.reload()
    assert (await told(page, "signed in"))["sub"] == user["sub"]


async def test_three_tabs_all_end_signed_in(visitor: Visitor) -> None:
    """openid.md §7: tabs opened before anybody signed in each find their way, whatever the order."""
    tabs = [await visitor.tab() for _ in range(3)]
    for tab in tabs:
        await tab.click("#sign-in")
        await tab.wait_for_selector("#password")
    await visitor.identify(tabs[1])
    await tabs[1].click("#accept")
    signed_in = [await told(tabs[1], "signed in")]
    for tab in (tabs[2], tabs[0]):
        await visitor.identify(tab)
        signed_in.append(await told(tab, "signed in"))
    assert len({user["sub"] for user in signed_in}) == 1
    for tab in tabs:
        await tab.click("#call")
        await told(tab, "called 200")


async def test_a_later_tab_is_signed_in_without_a_word(visitor: Visitor) -> None:
    first = await visitor.tab()
    user = await visitor.sign_in(first)
    second = await visitor.tab()
    await second.click("#sign-in")
    assert (await told(second, "signed in"))["sub"] == user["sub"]


async def test_back_after_all_is_done_leads_to_no_dead_end(visitor: Visitor) -> None:
    page = await visitor.tab()
    user = await visitor.sign_in(page)
    await page.go_back()
    # The request is over: the page says so and leads home, where this person is signed in.
    await page.locator("h1", has_text="Cette connexion est déjà terminée").wait_for()
    await page.locator("main a", has_text="Aller à mon espace").wait_for()
    await page.go_forward()
    assert (await told(page, "signed in"))["sub"] == user["sub"]
    await page.click("#sign-in")
    assert (await told(page, "signed in"))["sub"] == user["sub"]


async def test_back_from_consent_asks_for_consent_again(visitor: Visitor) -> None:
    """Who is signed in already is not asked to sign in again: the sign-in page leads straight on."""
    page = await visitor.tab()
    await page.click("#sign-in")
    await visitor.identify(page)
    await page.wait_for_selector("#accept")
    await page.go_back()
    await page.click("#accept")
    await told(page, "signed in")


async def test_a_refusal_comes_back_to_the_app(visitor: Visitor) -> None:
    page = await visitor.tab()
    await page.click("#sign-in")
    await visitor.identify(page)
    await page.click("#refuse")
    assert (await told(page, "refused"))["error"] == "access_denied"


async def test_logout_ends_the_session_everywhere(visitor: Visitor) -> None:
    page, other = await visitor.tab(), await visitor.tab()
    await visitor.sign_in(page)
    await other.click("#sign-in")
    await told(other, "signed in")

    await page.click("#sign-out")
    await told(page, "signed out")
    await page.goto(visitor.app.origin)
    await told(page, "nobody")
    await page.click("#sign-in")
    await page.wait_for_selector("#password")


@pytest.mark.parametrize("path", ["/token", "/par", "/revoke", "/userinfo"])
async def test_a_page_of_another_origin_may_call_but_never_with_cookies(
    http: httpx.AsyncClient, running_espace: RunningEspace, app: App, path: str
) -> None:
    asked = {
        "Origin": app.origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "dpop",
    }
    answer = await http.options(f"{running_espace.issuer}{path}", headers=asked)
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] in ("*", app.origin)
    assert "access-control-allow-credentials" not in answer.headers
    assert "dpop" in answer.headers["access-control-allow-headers"].lower()


@pytest.mark.parametrize("path", ["/authorize", "/sign-in", "/end-session", "/authorize/consent", "/api/me"])
async def test_no_page_of_another_origin_reads_what_people_see(
    http: httpx.AsyncClient, running_espace: RunningEspace, app: App, path: str
) -> None:
    """openid.md line 22."""
    for method in ("OPTIONS", "GET"):
        answer = await http.request(method, f"{running_espace.issuer}{path}", headers={"Origin": app.origin})
        assert "access-control-allow-origin" not in answer.headers, method

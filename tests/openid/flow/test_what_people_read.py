"""What the pages of a flow tell a person: whose account, which rights, for how long, and what became of a request."""

import re
from datetime import timedelta
from html import unescape
from urllib.parse import urlencode

import httpx
import pytest

from libs.common.pages.formats import day
from services.identity.openid.completion import CONSENT_LASTS
from services.identity.openid.issuing import OFFLINE_GRANT_LIFE
from services.identity.openid.rights_in_words import ACTING, READING, rights_in_words
from services.identity.openid.steps import FLOW_LASTS
from tests.openid.flow.test_claims_and_consent import changed, rights
from tests.openid.flow.test_endings import OLD, at_sign_in
from tests.openid.party import SCOPE, Issuer, Party, Somebody, callback

HOME_PAGE = "https://client.example/"


def told(page: httpx.Response) -> str:
    """The words of the page's body, plain spaces between them."""
    body = re.sub(r"(?s)<head.*?</head>", "", page.text)
    return " ".join(
        unescape(re.sub("<[^>]+>", " ", body)).replace("\u00a0", " ").replace("\u202f", " ").split()
    )


def heading(page: httpx.Response) -> str:
    found = re.search("(?s)<h1[^>]*>(.*?)</h1>", page.text)
    assert found is not None
    return unescape(found[1]).replace("\u202f", " ")


@pytest.fixture
async def who(issuer: Issuer) -> Somebody:
    return await (await issuer.person()).sign_in()


@pytest.fixture
async def client(issuer: Issuer) -> Party:
    return await issuer.client(consent="explicit", client_uri=HOME_PAGE)


def test_every_right_has_one_place_and_what_acts_comes_last() -> None:
    scopes = [*ACTING, *READING, "un.known"]
    backwards = rights_in_words(reversed(scopes))
    assert rights_in_words(scopes) == backwards
    assert backwards.reading == list(READING.values())
    assert backwards.acting == [*ACTING.values(), "un.known"]
    assert all(scope.endswith(".read") for scope in READING if "." in scope)


async def test_consent_and_account_tell_the_same_rights_in_the_same_order(
    issuer: Issuer, who: Somebody, client: Party
) -> None:
    backwards = " ".join(["openid", *reversed(SCOPE.split())])
    page = await client.authorize(who, scope=backwards)
    agreed = rights(page.text)
    assert agreed[0] == READING["openid"] and agreed[-1] == ACTING["offline_access"]
    assert "Agir en votre nom" in told(page)
    await who.submit(page, choice="accept")
    await client.code(who, scope=backwards)
    account = await who.get(f"/{issuer.caisse}/account/me")
    listed = re.search(r'(?s)<div id="rights-1">(.*?)</div>', account.text)
    assert listed is not None
    assert re.findall("<li>(?:<strong>)?(.*?)(?:</strong>)?</li>", listed[1]) == agreed


@pytest.mark.parametrize("offline", [True, False])
async def test_consent_and_account_tell_the_same_durations(
    issuer: Issuer, who: Somebody, client: Party, offline: bool
) -> None:
    """What the access lasts, and until when the agreement is remembered: two things, the same on both pages."""
    scope = "openid profile" + (" offline_access" if offline else "")
    page = await client.authorize(who, scope=scope)
    until = day(issuer.clock() + CONSENT_LASTS).replace("\u00a0", " ")
    lasts = (
        f"{OFFLINE_GRANT_LIFE.days} jours" if offline else "Le temps de votre connexion, 12 heures au plus."
    )
    await who.submit(page, choice="accept")
    await client.code(who, scope=scope)
    account = await who.get(f"/{issuer.caisse}/account/me")
    for one in (page, account):
        assert lasts in told(one)
        assert f"Retenu jusqu’au {until} : d’ici là" in told(one)
    assert ("90 jours" in told(page)) is offline


async def test_consent_says_who_is_signed_in_and_lets_another_person_in(
    issuer: Issuer, who: Somebody, client: Party
) -> None:
    page = await client.authorize(who, prompt="consent")
    assert f'<strong id="account">{who.email}</strong>' in page.text.replace("<wbr>", "")
    assert heading(page) == "Donner un accès ?"
    issuer.clock.forward(seconds=1)
    # The button belongs to the form that ends the page.
    assert 'form="other-account" name="choice" value="other"' in page.text
    other = page.text.partition('id="other-account"')[2]
    action = page.text.rpartition('<form method="post" action="')[2].partition('"')[0]
    hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', other))
    onward = await who.post(unescape(action), hidden | {"choice": "other"})
    asked = await who.get(onward.headers["location"])
    assert "/sign-in?flow=" in asked.headers["location"]
    issuer.clock.forward(seconds=1)
    await who.sign_in()
    # And the client still hears a consent given anew, as it asked.
    assert heading(await who.get(onward.headers["location"])) == "Donner un accès ?"


async def test_the_choice_of_firm_says_who_is_signed_in(issuer: Issuer, client: Party) -> None:
    who = await (await issuer.person(firms=2)).sign_in()
    page = await client.authorize(who)
    assert heading(page) == "Pour quelle entreprise ?"
    assert (
        f'<strong id="account">{who.email}</strong>' in page.text.replace("<wbr>", "")
        and 'id="other-account"' in page.text
    )
    wrong = await who.submit(page, firm="none")
    assert wrong.status_code == 422 and "<title>Erreur" in wrong.text


async def test_going_back_after_the_answer_says_that_it_is_finished(who: Somebody, client: Party) -> None:
    page = await client.authorize(who)
    onward = await who.submit(page, choice="accept")
    assert "code" in callback(await who.get(onward.headers["location"]))
    # Back to the page that went on, and back to the consent itself, pressed once more.
    for again in (await who.get(onward.headers["location"]), await who.submit(page, choice="accept")):
        assert again.status_code == 400
        assert heading(again) == "Cette connexion est déjà terminée"
        assert f'href="{HOME_PAGE}"' in again.text and "invalid_request" not in again.text


async def test_a_pushed_request_used_twice_says_that_it_is_finished(who: Somebody, client: Party) -> None:
    url = await client.authorize_url()
    await who.submit(await who.get(url), choice="refuse")
    assert heading(await who.get(url)) == "Cette connexion est déjà terminée"


async def test_a_request_left_too_long_blames_nobody(issuer: Issuer, who: Somebody, client: Party) -> None:
    page = await client.authorize(who)
    issuer.clock.now += FLOW_LASTS + timedelta(seconds=1)
    late = await who.submit(page, choice="accept")
    assert heading(late) == "Cette demande n’est plus valable"
    assert "Vous êtes bien connecté." in told(late)
    assert f'href="{HOME_PAGE}"' in late.text and 'id="home"' in late.text


async def test_a_request_left_too_long_begins_again_at_the_application(issuer: Issuer, who: Somebody) -> None:
    """OpenID Connect Core §4: the application is told who asks it to begin a sign-in; without script, by one link."""
    begins = "https://client.example/login?from=espace"
    client = await issuer.client(consent="explicit", client_uri=HOME_PAGE, initiate_login_uri=begins)
    page = await client.authorize(who)
    issuer.clock.now += FLOW_LASTS + timedelta(seconds=1)
    late = await who.submit(page, choice="accept")
    led = re.search('id="client" href="([^"]+)"', late.text)
    assert led is not None
    assert unescape(led[1]) == f"{begins}&{urlencode({'iss': issuer.url})}"
    # What was answered is over, and nothing to begin again.
    another = await (await issuer.person()).sign_in()
    page = await client.authorize(another)
    await another.submit(page, choice="refuse")
    over = await another.submit(page, choice="accept")
    assert f'href="{HOME_PAGE}"' in over.text and "login?from" not in over.text


@pytest.mark.parametrize("flow", ["", "not-a-flow", "0194fd1c-8a1b-7c3d-9e4f-123456789abc"])
async def test_a_flow_that_nobody_knows_is_too_old(issuer: Issuer, flow: str) -> None:
    page = await (await issuer.person()).get(f"/{issuer.caisse}/authorize/continue?flow={flow}")
    assert heading(page) == "Cette demande n’est plus valable"
    assert "Vous êtes bien connecté" not in told(page)


async def test_a_faulty_application_is_named_as_such_with_code_and_hour(
    issuer: Issuer, who: Somebody
) -> None:
    client = await issuer.client(redirect_uris=("https://client.example/cb", OLD), client_uri=HOME_PAGE)
    url = await client.authorize_url(redirect_uri=OLD)
    await changed(issuer, client, redirect_uris=("https://client.example/cb",))
    page = await who.get(url)
    assert heading(page) == "Cette application est mal réglée"
    assert '<code id="error">invalid_request</code>' in page.text
    assert re.search(r"Heure \d+ \w+ \d{4} à \d+ h", told(page)) or "1er" in told(page)
    # The developer's words, in their own language, and folded away.
    assert re.search(r'(?s)<details>.*<p lang="en">.*redirect_uri.*</details>', page.text)
    # Nobody is led to an application that is not set up.
    assert f'href="{HOME_PAGE}"' not in page.text


async def test_a_faulty_sign_out_leads_to_a_sign_out(issuer: Issuer, who: Somebody) -> None:
    page = await who.get(f"/{issuer.caisse}/end-session?client_id=unknown")
    assert page.status_code == 400
    assert heading(page) == "Vous n’êtes pas encore déconnecté"
    assert f'href="/{issuer.caisse}/sign-out"' in page.text


async def test_nobody_who_is_signed_out_is_told_that_they_are_not(issuer: Issuer) -> None:
    page = await (await issuer.person()).get(f"/{issuer.caisse}/end-session?client_id=unknown")
    assert page.status_code == 400
    assert heading(page) == "Cette application est mal réglée"
    assert "sign-out" not in page.text


async def test_both_questions_before_leaving_are_one(issuer: Issuer, who: Somebody, client: Party) -> None:
    """The same words, whoever asks; and the person is named, and the application when there is one."""
    own = await who.get(f"/{issuer.caisse}/sign-out")
    asked = await who.get(f"/{issuer.caisse}/end-session?client_id={client.client_id}")
    for page in (own, asked):
        assert heading(page) == "Se déconnecter ?"
        assert '<strong id="account">Camille Martin</strong>' in page.text
        assert page.text.index('id="confirm"') < page.text.index('id="stay"')
    assert "Logiciel de test vous propose" in told(asked) and "Logiciel de test" not in told(own)
    assert (await who.submit(own, choice="stay")).headers["location"].endswith(f"/{issuer.caisse}")
    gone = await who.submit(await who.get(f"/{issuer.caisse}/end-session"), choice="leave")
    again = await who.submit(await who.get(f"/{issuer.caisse}/sign-out"), choice="leave")
    assert heading(gone) == heading(again) == "Vous êtes déconnecté"
    assert 'id="sign-in-again"' in gone.text and 'id="sign-in-again"' in again.text


async def test_sign_in_names_the_application_it_leads_to(issuer: Issuer, client: Party) -> None:
    who = await issuer.person()
    page = await who.get((await client.authorize(who)).headers["location"])
    assert "Pour continuer vers Logiciel de test." in told(page)
    portal = await issuer.client(consent="implicit")
    own = await who.get((await portal.authorize(who)).headers["location"])
    assert own.status_code == 200 and "Pour continuer vers" not in told(own)


async def test_a_dead_flow_is_told_before_the_password(issuer: Issuer, client: Party) -> None:
    who = await issuer.person()
    flow = await at_sign_in(client, who)
    address = f"/{issuer.caisse}/sign-in?flow={flow}"
    assert 'id="lapsed"' not in (await who.get(address)).text
    # Another browser's flow leads nowhere from here: the same.
    stranger = await issuer.person()
    assert 'id="lapsed"' in (await stranger.get(address)).text
    issuer.clock.now += FLOW_LASTS + timedelta(seconds=1)
    page = await who.get(address)
    assert page.status_code == 200 and 'id="lapsed"' in page.text
    assert (
        'name="flow" value=""' in page.text
        and "flow=" not in page.text.partition('id="forgotten-password"')[2]
    )
    # Somebody signed in meanwhile is told so, with the way to their space.
    await who.sign_in()
    onward = await who.get(address)
    said = await who.get(onward.headers["location"])
    assert "Vous êtes bien connecté." in told(said) and 'id="home"' in said.text

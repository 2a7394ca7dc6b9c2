"""Whoever forgot their password on the way to an application still gets there."""

import re
from urllib.parse import urlencode, urlsplit

import pytest
from litestar import Litestar

from libs.common.database.pool import Database
from libs.common.keys.key_encryption import KeyEncryption
from services.identity.openid.clients import ClientMetadata
from services.identity.openid.steps import FLOW_LASTS
from services.identity.openid.write_client import register_client
from services.identity.signing_keys.rotation import create_keys
from tests.conftest import HeldClock
from tests.identity.sign_in.visitors import (
    BASE,
    CAISSE,
    Post,
    Visitor,
    a_person,
    link_in,
    told,
)

NEW_PASSWORD = "cigogne parapluie betterave quai"


@pytest.fixture(scope="module")
async def opened(app: Litestar, identity_db: Database, keys: KeyEncryption, held: HeldClock) -> None:
    """The caisse's issuer has its keys."""
    async with identity_db.transaction(CAISSE) as tx:
        await create_keys(tx, keys, held.now)


@pytest.fixture
async def on_the_way(opened: None, visitor: Visitor, identity_db: Database, clock: HeldClock) -> str:
    """The address of sign-in, in the flow of a client that this very browser began."""
    async with identity_db.transaction(CAISSE) as tx:
        client = await register_client(
            tx,
            ClientMetadata(
                client_name="Devis & Chantiers",
                token_endpoint_auth_method="none",
                redirect_uris=("https://app.example/cb",),
                scope="openid",
            ),
            now=clock(),
        )
    query = {
        "client_id": client.client_id,
        "response_type": "code",
        "redirect_uri": "https://app.example/cb",
        "scope": "openid",
        "state": "s",
        "nonce": "n",
        "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        "code_challenge_method": "S256",
    }
    answer = await visitor.get(f"/{CAISSE}/authorize?{urlencode(query)}")
    address = answer.headers["location"]
    assert "/sign-in?flow=" in address, told(answer)
    return address.removeprefix(BASE)


def href(page: str, id: str) -> str:
    """Where the link of that id leads."""
    found = re.search(rf'<a[^>]*id="{id}"[^>]*>', page)
    assert found is not None
    return found[0].partition('href="')[2].partition('"')[0].replace("&amp;", "&")


def hidden(page: str) -> dict[str, str]:
    return dict(re.findall(r'<input type="hidden" name="(flow|continue)" value="([^"]*)"', page))


async def asks_and_resets(browser: Visitor, post: Post, start: str, email: str) -> str:
    """From sign-in through the mail; the page that says that the password is changed."""
    page = await browser.get(href((await browser.get(start)).text, "forgotten-password"))
    sent = await browser.post(f"/{CAISSE}/forgotten-password", email=email, **hidden(page.text))
    assert sent.status_code == 200
    link = link_in(await post.newest(email), "/new-password?link=")
    form = await browser.get(link)
    token = re.search('name="link" value="([^"]+)"', form.text)
    assert token is not None
    changed = await browser.post(
        f"/{CAISSE}/new-password", link=token[1], new_password=NEW_PASSWORD, **hidden(form.text)
    )
    assert changed.status_code == 200, told(changed)
    return changed.text


async def test_the_flow_outlives_a_forgotten_password(
    visitor: Visitor, on_the_way: str, identity_db: Database, clock: HeldClock, post: Post
) -> None:
    await a_person(identity_db, clock, "forgot@exemple.fr")
    changed = await asks_and_resets(visitor, post, on_the_way, "forgot@exemple.fr")
    assert "Devis &amp; Chantiers" in changed
    page = await visitor.get(href(changed, "sign-in"))
    assert "Pour continuer vers Devis & Chantiers." in told(page)
    signed = await visitor.post(
        f"/{CAISSE}/sign-in", email="forgot@exemple.fr", password=NEW_PASSWORD, **hidden(page.text)
    )
    consent = await visitor.follow(signed)
    assert "Donner un accès" in told(consent)


async def test_a_flow_that_died_meanwhile_is_left_out(
    visitor: Visitor, on_the_way: str, identity_db: Database, clock: HeldClock, post: Post
) -> None:
    await a_person(identity_db, clock, "slow@exemple.fr")
    await visitor.get(on_the_way)
    asked = await visitor.get(href((await visitor.get(on_the_way)).text, "forgotten-password"))
    await visitor.post(f"/{CAISSE}/forgotten-password", email="slow@exemple.fr", **hidden(asked.text))
    link = link_in(await post.newest("slow@exemple.fr"), "/new-password?link=")
    assert "&flow=" in link
    clock.forward(seconds=int(FLOW_LASTS.total_seconds()) + 1)
    form = await visitor.get(link)
    assert hidden(form.text)["flow"] == ""
    token = link.partition("link=")[2].partition("&")[0]
    changed = await visitor.post(f"/{CAISSE}/new-password", link=token, new_password=NEW_PASSWORD)
    assert href(changed.text, "sign-in") == f"https://portal.example.test/{CAISSE}/sign-in"


async def test_the_link_opened_elsewhere_leads_to_nobody_s_flow(
    app: Litestar, visitor: Visitor, on_the_way: str, identity_db: Database, clock: HeldClock, post: Post
) -> None:
    """Whoever asks a reset for somebody else puts no application on their way."""
    await a_person(identity_db, clock, "elsewhere@exemple.fr")
    asked = await visitor.get(href((await visitor.get(on_the_way)).text, "forgotten-password"))
    await visitor.post(f"/{CAISSE}/forgotten-password", email="elsewhere@exemple.fr", **hidden(asked.text))
    link = link_in(await post.newest("elsewhere@exemple.fr"), "/new-password?link=")
    elsewhere = Visitor(app)
    form = await elsewhere.get(link)
    assert form.status_code == 200 and hidden(form.text)["flow"] == ""


async def test_a_page_of_ours_is_kept_too(
    visitor: Visitor, identity_db: Database, clock: HeldClock, post: Post
) -> None:
    await a_person(identity_db, clock, "path@exemple.fr")
    asked = await visitor.get(f"/{CAISSE}/delegations")
    start = asked.headers["location"]
    changed = await asks_and_resets(visitor, post, start, "path@exemple.fr")
    assert urlsplit(href(changed, "sign-in")).query == urlencode({"continue": f"/{CAISSE}/delegations"})

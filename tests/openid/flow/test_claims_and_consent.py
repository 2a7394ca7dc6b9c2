"""Claims asked one by one: within the client's ceiling, shown, agreed to and remembered like scopes."""

import json
import re
from typing import Any

import pytest
from msgspec.structs import replace

from services.identity.openid import store
from services.identity.openid.write_client import AT_THE_COMMAND_LINE, update_client
from tests.openid.party import Issuer, Party, Somebody, callback, claims_of

ASKED = json.dumps({"id_token": {"email": None, "name": None}, "userinfo": {"email": None, "address": None}})


@pytest.fixture
async def who(issuer: Issuer) -> Somebody:
    return await (await issuer.person()).sign_in()


async def changed(issuer: Issuer, client: Party, **changes: Any) -> None:
    async with issuer.db.transaction(issuer.caisse) as tx:
        now = await store.load_client(tx, client.client_id)
        assert now is not None
        metadata = replace(client.metadata, **changes)
        await update_client(tx, now, metadata, now=issuer.clock(), plain_http=True, by=AT_THE_COMMAND_LINE)


def rights(page: str) -> list[str]:
    """What the page says that the access allows: first what it reads, then what it does."""
    found = re.search(r'<div id="rights">(.*?)</div>', page, re.DOTALL)
    assert found is not None, page[-1500:]
    return re.findall("<li>(?:<strong>)?(.*?)(?:</strong>)?</li>", found[1])


async def test_a_claim_beyond_the_ceiling_is_not_given(issuer: Issuer, who: Somebody) -> None:
    client = await issuer.plain_client(scope="openid", consent="explicit")
    page = await client.authorize(who, claims=ASKED)
    assert rights(page.text) == ["Savoir que vous êtes connecté"]
    tokens = await client.tokens(who, claims=ASKED)
    assert not {"email", "name", "address"} & claims_of(tokens["id_token"]).keys()
    assert set((await client.userinfo(tokens["access_token"])).json()) == {"sub"}


async def test_a_claim_within_the_ceiling_is_shown_and_widens_no_token(issuer: Issuer, who: Somebody) -> None:
    client = await issuer.client(profile="fapi", scope="openid profile email address", consent="explicit")
    page = await client.authorize(who, claims=ASKED)
    assert rights(page.text) == [
        "Savoir que vous êtes connecté",
        "Lire votre nom",
        "Lire votre adresse électronique",
        "Lire l’adresse de l’entreprise",
    ]
    tokens = await client.tokens(who, claims=ASKED)
    assert tokens["scope"] == claims_of(tokens["access_token"])["scope"] == "openid"
    assert {"email", "name"} <= claims_of(tokens["id_token"]).keys()
    told = (await client.userinfo(tokens["access_token"])).json()
    assert set(told) == {"sub", "email", "address"}


async def test_a_remembered_consent_to_openid_covers_no_claim(issuer: Issuer, who: Somebody) -> None:
    client = await issuer.plain_client(consent="explicit")
    await client.tokens(who)
    assert "code" in callback(await client.authorize(who, prompt="none"))
    silent = callback(await client.authorize(who, prompt="none", claims=ASKED))
    assert silent["error"] == "consent_required"
    await client.tokens(who, claims=ASKED)
    assert "code" in callback(await client.authorize(who, prompt="none", claims=ASKED))


async def test_consent_to_other_claims_than_those_shown_is_no_consent(issuer: Issuer, who: Somebody) -> None:
    """The digest of what was shown tells a claim from none."""
    client = await issuer.plain_client(consent="explicit")
    without = await client.authorize(who)
    page = await client.authorize(who, claims=ASKED)
    shown = re.search('name="shown" value="([^"]+)"', without.text)
    assert shown is not None
    onward = await who.submit(page, choice="accept", shown=shown[1])
    again = await who.get(onward.headers["location"])
    assert again.status_code == 200 and "Lire votre nom" in rights(again.text)


async def test_a_scope_withdrawn_from_the_client_ends_its_claims(issuer: Issuer, who: Somebody) -> None:
    client = await issuer.plain_client(consent="explicit", scope="openid profile email address")
    tokens = await client.tokens(who, claims=ASKED)
    await changed(issuer, client, scope="openid")
    # The token of before says more than would be given now: a floor was raised above it.
    assert (await client.userinfo(tokens["access_token"])).status_code == 401
    issuer.clock.forward(minutes=1)
    anew = (await client.refresh(tokens["refresh_token"])).json()
    assert not {"email", "name"} & claims_of(anew["id_token"]).keys()
    assert set((await client.userinfo(anew["access_token"])).json()) == {"sub"}


async def test_the_account_page_lists_what_claims_gave(issuer: Issuer, who: Somebody) -> None:
    client = await issuer.plain_client(consent="explicit")
    await client.tokens(who, claims=ASKED)
    async with issuer.db.transaction(issuer.caisse) as tx:
        scopes = await tx.fetchval(
            "SELECT scopes FROM consent WHERE client_id = $1 AND person_id = $2", client.client_id, who.id
        )
    assert set(scopes) == {"openid", "profile", "email", "address"}


@pytest.mark.parametrize(
    ("redirect_uri", "again"),
    [("http://127.0.0.1:{}/cb", True), ("com.example.app:/cb", True), ("https://client.example/cb", False)],
)
async def test_nobody_agrees_in_silence_to_whoever_bears_an_app_s_name(
    issuer: Issuer, who: Somebody, redirect_uri: str, again: bool
) -> None:
    """RFC 8252 §8.6: any program of the machine can take a native app's name, a port, a private scheme; the person
    is asked each time. An https address is the app's own.
    """
    app = await issuer.client(
        token_endpoint_auth_method="none",
        application_type="native",
        redirect_uris=("http://127.0.0.1/cb", "com.example.app:/cb", "https://client.example/cb"),
    )
    assert await app.code(who, redirect_uri="https://client.example/cb")
    page = await app.authorize(who, redirect_uri=redirect_uri.format(50123))
    assert (page.status_code == 200 and 'id="accept"' in page.text) is again
    assert (page.status_code == 303) is not again
    assert ("Demandé à chaque fois" in page.text) is again
    silent = callback(await app.authorize(who, redirect_uri=redirect_uri.format(50124), prompt="none"))
    assert silent.get("error") == ("consent_required" if again else None)
    # Asked, it is given: once for this request.
    assert "code" in await app.answer(who, redirect_uri=redirect_uri.format(50125))


async def test_consent_to_another_name_than_the_one_shown_is_no_consent(
    issuer: Issuer, who: Somebody
) -> None:
    """A client that registers itself names itself, and may do so while its page stands open."""
    client = await issuer.client(consent="explicit", client_name="Fiduciaire Provence")
    page = await client.authorize(who)
    assert "Fiduciaire Provence" in page.text
    await changed(issuer, client, client_name="Tout à fait autre chose")
    onward = await who.submit(page, choice="accept")
    anew = await who.get(onward.headers["location"])
    assert anew.status_code == 200 and "Tout à fait autre chose" in anew.text
    agreed = await who.submit(anew, choice="accept")
    assert "code" in callback(await who.get(agreed.headers["location"]))

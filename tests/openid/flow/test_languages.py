"""`ui_locales` (OpenID Connect Core §3.1.2.1): every page of a flow speaks as its client asked, pushed or not."""

import httpx
import pytest
from pyotp.totp import TOTP

from libs.common.values.identifiers import new_id
from services.identity.sign_in.password import Passwords
from tests.identity.sign_in.test_sign_in import secret_shown
from tests.identity.sign_in.visitors import GOOD_PASSWORD
from tests.openid.flow.test_claims_and_consent import changed
from tests.openid.party import Issuer, Party, Somebody

FRENCH_SIGN = ("Le temps de votre connexion", "Mon cabinet", "Choisissez une entreprise")


def speaks(page: httpx.Response, language: str) -> None:
    assert f'<html lang="{language}">' in page.text, page.text[:300]
    assert page.headers["content-language"] == language
    if language == "en":
        assert not any(words in page.text for words in FRENCH_SIGN)


async def may_sign_in(who: Somebody) -> None:
    """With a password, as a member of a cabinet: a second factor is to be enrolled."""
    passwords = Passwords()
    encoded = await passwords.hash(GOOD_PASSWORD)
    passwords.close()
    async with who.issuer.db.transaction(who.issuer.caisse) as tx:
        # No address under .test passes for one that a person types.
        who.email = who.email.replace("@example.test", "@exemple.fr")
        await tx.execute(
            "UPDATE person SET password_hash = $2, email = $3, email_key = $3 WHERE id = $1",
            who.id, encoded, who.email,
        )  # fmt: skip
        cabinet_id = new_id()
        await tx.execute(
            "INSERT INTO cabinet (id, siren, name, created_at) VALUES ($1, '732829320', 'Cabinet', $2)",
            cabinet_id, who.issuer.clock(),
        )  # fmt: skip
        await tx.execute(
            "INSERT INTO collaborator (id, cabinet_id, person_id, role, created_at)"
            " VALUES ($1, $2, $3, 'member', $4)",
            new_id(), cabinet_id, who.id, who.issuer.clock(),
        )  # fmt: skip


async def proves_the_mailbox(who: Somebody) -> None:
    """As the mailed code would: these tests read no mail."""
    async with who.issuer.db.transaction(who.issuer.caisse) as tx:
        await tx.execute("UPDATE sign_in SET proven = '{email,pwd}' WHERE person_id = $1", who.id)


@pytest.fixture
async def client(issuer: Issuer) -> Party:
    return await issuer.client(consent="explicit")


async def test_every_page_from_sign_in_to_the_answer_speaks_as_asked(issuer: Issuer, client: Party) -> None:
    """Pushed, and without Accept-Language."""
    who = await issuer.person(firms=2)
    await may_sign_in(who)
    flow = await client.authorize(who, ui_locales="de en", response_mode="form_post")
    page = await who.get(flow.headers["location"])
    speaks(page, "en")
    wrong = await who.submit(page, email=who.email, password="not this one")
    speaks(wrong, "en")
    onward = await who.submit(page, email=who.email, password=GOOD_PASSWORD)
    mailed = await who.get(onward.headers["location"])
    speaks(mailed, "en")
    speaks(await who.submit(mailed, code="000000"), "en")
    await proves_the_mailbox(who)
    enrol = await who.get(onward.headers["location"])
    speaks(enrol, "en")
    codes = await who.submit(enrol, code=TOTP(secret_shown(enrol.text)).at(issuer.clock()))
    speaks(codes, "en")
    number = flow.headers["location"].partition("flow=")[2]
    choice = await who.get(f"/{issuer.caisse}/authorize/continue?flow={number}")
    speaks(choice, "en")
    speaks(await who.submit(choice, firm="none"), "en")
    onward = await who.submit(choice, firm="cabinet")
    consent = await who.get(onward.headers["location"])
    speaks(consent, "en")
    onward = await who.submit(consent, choice="accept")
    handed = await who.get(onward.headers["location"])
    assert handed.status_code == 200 and 'name="code"' in handed.text
    speaks(handed, "en")
    over = await who.get(f"/{issuer.caisse}/authorize/continue?flow={number}")
    assert over.status_code == 400
    speaks(over, "en")


async def test_the_choice_of_account_speaks_as_asked(issuer: Issuer, client: Party) -> None:
    who = await (await issuer.person()).sign_in()
    speaks(await client.authorize(who, ui_locales="en", prompt="select_account"), "en")
    speaks(await client.authorize(who, prompt="select_account"), "fr")


async def test_an_error_page_speaks_as_the_request_asked(issuer: Issuer) -> None:
    client = await issuer.client(redirect_uris=("https://client.example/cb", "https://old.example/cb"))
    who = await (await issuer.person()).sign_in()
    url = await client.authorize_url(ui_locales="en", redirect_uri="https://old.example/cb")
    await changed(issuer, client, redirect_uris=("https://client.example/cb",))
    refused = await who.get(url)
    assert refused.status_code == 400
    speaks(refused, "en")
    posted = await who.post(
        f"/{issuer.caisse}/authorize", client.request(ui_locales="en", redirect_uri="https://x.example/")
    )
    assert posted.status_code == 400
    speaks(posted, "en")


async def test_the_language_that_the_person_asks_by_the_address_wins(issuer: Issuer, client: Party) -> None:
    flow = await client.authorize(who := await issuer.person(), ui_locales="en")
    speaks(await who.get(flow.headers["location"] + "&ui_locales=fr"), "fr")


async def test_signing_out_speaks_as_asked_to_the_end(issuer: Issuer, client: Party) -> None:
    """RP-Initiated Logout §2."""
    address = f"/{issuer.caisse}/end-session"
    who = await (await issuer.person()).sign_in()
    page = await who.get(f"{address}?ui_locales=en")
    speaks(page, "en")
    speaks(await who.submit(page, choice="leave"), "en")
    await who.sign_in()
    onward = await who.post(address, {"ui_locales": "en"})
    page = await who.get(onward.headers["location"])
    speaks(page, "en")
    speaks(await who.submit(page, choice="leave"), "en")

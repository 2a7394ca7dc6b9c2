"""The leaflet's journey in Chromium, without JavaScript: what a mason, a collaborator and a buyer see.

Each page they meet is examined as they meet it; the last test says which pages nobody met.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import Browser

from libs.common.database.pool import Database
from libs.common.runtime.settings import load_settings
from libs.common.values.caisse_slug import CaisseSlug
from tests.journeys.page_routes import unmet
from tests.journeys.person import Person, Seen
from tests.journeys.post import Telephone, mailed, two_letters, until

CAISSE = "mediterranee"
NAME = "Jeanne-Élisabeth d’Œillet-Maçon"
PASSWORD = "quatre-echelles-sur-le-toit"


@pytest.fixture(scope="module")
def seen() -> Seen:
    return Seen()


@pytest.fixture(scope="module")
async def mason(running_browser: Browser, seen: Seen) -> AsyncIterator[Person]:
    person = await Person.at(running_browser, seen)
    yield person
    await person.leave()


@pytest.fixture(scope="module")
async def collaborator(running_browser: Browser, seen: Seen) -> AsyncIterator[Person]:
    person = await Person.at(running_browser, seen)
    yield person
    await person.leave()


@pytest.fixture(scope="module")
def known() -> dict[str, str]:
    """What the people of this journey learn on their way."""
    return {"email": f"jeanne.{secrets.token_hex(4)}@entreprise.example"}


@pytest.fixture(scope="module")
def owners(espace: dict[str, Any]) -> list[dict[str, str]]:
    return [account for account in espace["demo"]["accounts"] if account["role"] == "owner"]


@pytest.fixture
def owner(owners: list[dict[str, str]], known: dict[str, str]) -> dict[str, str]:
    """Who answers for the cabinet that the firm had in the former system."""
    return next(one for one in owners if one["cabinet_siren"] == known["cabinet"])


@pytest.fixture
def other_cabinet(owners: list[dict[str, str]], known: dict[str, str]) -> str:
    return next(one["cabinet_siren"] for one in owners if one["cabinet_siren"] != known["cabinet"])


async def test_1_two_letters_and_a_keyboard_open_the_account(
    espace: dict[str, Any], mason: Person, known: dict[str, str]
) -> None:
    letters = await two_letters(espace)
    known["number"], known["siret"] = letters.adherent_number, letters.siret

    await mason.open(espace["portal"])
    await mason.looks("caisses")
    await mason.tab_to(f"caisse-{CAISSE}")
    await mason.enter()
    await mason.looks("caisse")
    await mason.tab_to("enter")
    await mason.enter()
    await mason.looks("sign-in")
    await mason.tab_to("first-connection")
    await mason.enter()
    await mason.looks("questions")
    await mason.tab_to("continue")
    await mason.enter()
    await mason.is_led_to("error-summary")
    await mason.looks("questions-in-error")
    for field in ("kind", "letters"):
        await mason.tab_to(field)
        await mason.page.keyboard.press("Space")
    await mason.tab_to("continue")
    await mason.enter()
    await mason.looks("letters")
    await typed_by_keyboard(mason, number=letters.siret, identifiant="ABCD EFGH J")
    await mason.tab_to("continue")
    await mason.enter()
    await mason.is_led_to("error-summary")
    await mason.looks("letters-in-error")
    await typed_by_keyboard(
        mason, identifiant=letters.identifiant, code_confidentiel=letters.code_confidentiel.lower()
    )
    await mason.tab_to("continue")
    await mason.enter()
    await mason.looks("email")
    await typed_by_keyboard(mason, email=known["email"], name=NAME)
    await mason.enter()
    await mason.looks("password")
    await typed_by_keyboard(mason, password="court")
    await mason.enter()
    await mason.is_led_to("error-summary")
    await mason.looks("password-in-error")
    await typed_by_keyboard(mason, password=PASSWORD)
    await mason.enter()
    await mason.looks("mailbox")
    assert await mason.says(known["email"])


async def typed_by_keyboard(person: Person, **fields: str) -> None:
    for name, text in fields.items():
        await person.tab_to(name.replace("_", "-"))
        await person.page.keyboard.press("Control+A")
        await person.page.keyboard.type(text)


async def test_2_the_mailed_link_is_confirmed_by_its_button(
    espace: dict[str, Any], mason: Person, known: dict[str, str]
) -> None:
    link = await mailed(espace, known["email"], r"https?://\S+/first-connection/confirm\S*")
    await mason.open(link)
    await mason.looks("confirm")
    await mason.tab_to("confirm")
    await mason.enter()
    await mason.looks("done")
    await mason.open(link)
    await mason.looks("dead-link")


async def test_3_signing_in_leads_home(espace: dict[str, Any], mason: Person, known: dict[str, str]) -> None:
    await mason.open(f"{espace['portal']}/{CAISSE}/sign-in")
    if "/sign-in" in mason.page.url:
        await mason.type(email=known["email"], password="pas-le-bon-mot-de-passe")
        await mason.press("sign-in")
        await mason.looks("sign-in-in-error")
        await mason.type(email=known["email"], password=PASSWORD)
        await mason.press("sign-in")
    assert mason.page.url.startswith(espace["portal"])

    async def up_to_date() -> bool:
        await mason.open(f"{espace['portal']}/{CAISSE}")
        return await mason.says("Vous êtes à jour")

    await until(up_to_date)
    await mason.looks("home")
    for words in (
        known["number"],
        "À faire",
        "Ma situation",
        "Attestations",
        "Délégations",
        "Mon entreprise",
    ):
        assert await mason.says(words), words


async def test_4_the_firm_renews_its_former_authorisation_in_one_click(
    espace: dict[str, Any], mason: Person, known: dict[str, str], owners: list[dict[str, str]]
) -> None:
    await mason.press("manage-access")
    await mason.looks("delegations")
    async with mason.page.expect_navigation():
        await mason.page.get_by_role("link", name="Renouveler").first.click()
    await proven_again(espace, mason, known)
    await mason.looks("renew")
    known["renewed"] = mason.page.url.rsplit("/", 2)[-2]
    [cabinet] = [one for one in owners if await mason.says(one["cabinet_name"])]
    known["cabinet"] = cabinet["cabinet_siren"]
    await mason.press("other-terms")
    await mason.looks("renew-terms")
    await mason.page.go_back()
    await mason.press("confirm")
    assert "/receipts/" in mason.page.url
    await mason.looks("renewed")


async def test_4_the_firm_delegates_to_its_cabinet(
    espace: dict[str, Any], mason: Person, known: dict[str, str], other_cabinet: str
) -> None:
    """A new delegation, of other work, to another cabinet."""
    await mason.open(f"{espace['identity']}/{CAISSE}/delegations")
    await mason.press("delegate")
    await mason.looks("delegations-in-error")
    await mason.type(cabinet=other_cabinet)
    await mason.press("delegate")
    await mason.looks("terms")
    await mason.page.check("input[name=bundle][value=leave]")
    await mason.press("continue")
    await proven_again(espace, mason, known)
    await mason.looks("check")
    await mason.press("confirm")
    assert "/receipts/" in mason.page.url
    await mason.looks("receipt")


async def proven_again(espace: dict[str, Any], mason: Person, known: dict[str, str]) -> None:
    """The step-up: the password, then the code that the mail brings."""
    if "/step-up" not in mason.page.url:
        return
    await mason.looks("step-up")
    await mason.type(password=PASSWORD)
    await mason.press("step-up")
    await mason.looks("step-up-code")
    code = await mailed(espace, known["email"], r"\b\d{3}[ \u00a0\u202f]?\d{3}\b")
    await mason.type(code="".join(code.split()))
    await mason.press("second-factor")


async def test_5_a_collaborator_signs_in_with_two_factors_and_accepts(
    espace: dict[str, Any], collaborator: Person, known: dict[str, str], owner: dict[str, str]
) -> None:
    await collaborator.open(f"{espace['portal']}/{CAISSE}/clients")
    await collaborator.type(email=owner["email"], password=owner["password"])
    await collaborator.press("sign-in")
    await collaborator.looks("second-factor")
    await collaborator.type(code=await Telephone(owner["totp_secret"]).code())
    await collaborator.press("second-factor")
    assert collaborator.page.url.endswith(f"/{CAISSE}/clients")
    await collaborator.looks("clients")
    offer = collaborator.page.locator("#waiting li", has_text=known["number"])
    async with collaborator.page.expect_navigation():
        await offer.get_by_role("link").click()
    await collaborator.looks("offer")
    await collaborator.press("accept")
    await collaborator.looks("accepted")
    known["mandate"] = collaborator.page.url.partition("?")[0].rsplit("/", 1)[-1]
    assert known["mandate"] == known["renewed"], "the former authorisation itself came back into force"


async def test_6_the_collaborator_acts_and_obtains_the_attestation(
    espace: dict[str, Any], collaborator: Person, known: dict[str, str]
) -> None:
    await collaborator.open(f"{espace['portal']}/{CAISSE}/clients?q={known['number']}")
    await collaborator.looks("clients-searched")
    await collaborator.open(f"{espace['portal']}/{CAISSE}/clients/{known['mandate']}")
    assert await collaborator.says("Vous agissez pour")
    await collaborator.looks("client")
    await collaborator.press("request-attestation")
    assert await collaborator.says("Votre attestation est prête")
    await collaborator.looks("client-attestation")
    known["verification"] = await collaborator.page.get_attribute("#verify", "href") or ""
    async with collaborator.page.expect_download() as download:
        await collaborator.page.click("#download")
    path = await (await download.value).path()
    with path.open("rb") as paper:
        assert paper.read(5) == b"%PDF-"


async def test_7_the_firm_sees_who_did_what(
    espace: dict[str, Any], mason: Person, owner: dict[str, str]
) -> None:
    await mason.open(f"{espace['portal']}/{CAISSE}")
    assert await mason.says("Attestation délivrée")
    assert await mason.says(owner["name"])
    assert await mason.says(owner["cabinet_name"])
    await mason.looks("home-with-acts")
    await mason.press("all-activity")
    await mason.looks("activity")
    await mason.open(f"{espace['portal']}/{CAISSE}")
    await mason.press("request-attestation")
    await mason.looks("attestation")


async def test_8_anybody_verifies_the_attestation(
    espace: dict[str, Any], running_browser: Browser, seen: Seen, known: dict[str, str]
) -> None:
    buyer = await Person.at(running_browser, seen)
    await buyer.open(f"{espace['documents']}/{CAISSE}/verification")
    await buyer.looks("verification")
    await buyer.open(known["verification"])
    await buyer.looks("verified")
    assert await buyer.says(known["number"])
    await buyer.open(f"{espace['documents']}/a/000000000000")
    await buyer.looks("not-verified")
    await buyer.leave()


async def test_9_the_firm_revokes_and_the_collaborator_can_do_no_more(
    espace: dict[str, Any], mason: Person, collaborator: Person, known: dict[str, str]
) -> None:
    await collaborator.open(f"{espace['identity']}/{CAISSE}/cabinet/mandates/{known['mandate']}/resign")
    await collaborator.looks("resign")
    await mason.open(f"{espace['identity']}/{CAISSE}/delegations/{known['mandate']}")
    await mason.looks("mandate")
    await mason.press("narrow")
    await mason.looks("narrow")
    await mason.open(f"{espace['identity']}/{CAISSE}/delegations/{known['mandate']}")
    await mason.press("revoke")
    await proven_again(espace, mason, known)
    await mason.looks("revoke")
    await mason.press("confirm-revoke")
    await mason.looks("revoked")

    await collaborator.open(f"{espace['portal']}/{CAISSE}/clients/{known['mandate']}")

    assert collaborator.status == 403
    assert await collaborator.says("Vous ne pouvez plus agir pour cette entreprise")
    await collaborator.looks("mandate-over")


async def test_the_remaining_pages(
    espace: dict[str, Any], mason: Person, collaborator: Person, known: dict[str, str]
) -> None:
    """Pages that the leaflet does not cross, seen by somebody signed in."""
    for page in ("help", "accessibility", "legal", "privacy", "sign-out"):
        await mason.open(f"{espace['portal']}/{CAISSE}/{page}")
        await mason.looks(page)
    account = ("account", "account/me", "account/name", "account/password", "account/factor")
    others = ("first-connection/cabinet", "first-connection/missing-letter", "sign-out", "nowhere")
    for page in (*account, *others):
        await mason.open(f"{espace['identity']}/{CAISSE}/{page}")
        await mason.looks(f"identity-{page.replace('/', '-')}")
    await collaborator.open(f"{espace['identity']}/{CAISSE}/cabinet")
    await collaborator.looks("cabinet")


async def test_a_second_firm_joins_the_same_account(
    espace: dict[str, Any], mason: Person, known: dict[str, str]
) -> None:
    letters = await two_letters(espace)
    await mason.open(f"{espace['identity']}/{CAISSE}/first-connection/letters")
    await mason.type(
        number=letters.siret,
        identifiant=letters.identifiant,
        code_confidentiel=letters.code_confidentiel,
    )
    await mason.press("continue")
    await mason.type(email=known["email"])
    await mason.press("continue")
    if "/password" in mason.page.url:
        await mason.type(password=PASSWORD)
        await mason.press("continue")
        # One mail a minute to an address, whatever it says: the first connection's own may be younger.
        for _ in range(14):
            if not await mason.says("Nous venons de vous écrire"):
                break
            await asyncio.sleep(5)
            await mason.type(password=PASSWORD)
            await mason.press("continue")
    link = await mailed(espace, known["email"], r"https?://\S+/first-connection/attach\S*")
    await mason.open(link)
    await mason.looks("attach")
    await mason.press("attach")
    await mason.looks("attached")
    await mason.open(f"{espace['portal']}/{CAISSE}/sign-in")
    await mason.looks("which-firm")
    assert await mason.says("entreprise")


async def test_a_forgotten_password_is_chosen_anew(
    espace: dict[str, Any], mason: Person, known: dict[str, str]
) -> None:
    await mason.open(f"{espace['identity']}/{CAISSE}/forgotten-password")
    await mason.looks("forgotten-password")
    await mason.type(email=known["email"])
    await mason.press("ask")
    await mason.looks("forgotten-password-sent")
    await mason.open(await mailed(espace, known["email"], r"https?://\S+/new-password\S*"))
    await mason.looks("new-password")
    await mason.type(new_password="trois-poutres-et-une-solive")
    await mason.press("save")
    await mason.looks("password-changed")


async def test_signing_out_leaves_nothing_open(espace: dict[str, Any], collaborator: Person) -> None:
    await collaborator.open(f"{espace['portal']}/{CAISSE}/sign-out")
    await collaborator.press("sign-out")
    await collaborator.looks("signed-out")
    for address in (espace["portal"], espace["identity"]):
        await collaborator.open(
            f"{address}/{CAISSE}/{'clients' if address == espace['portal'] else 'cabinet'}"
        )
        assert "/sign-in" in collaborator.page.url


async def test_the_portal_was_told_of_it_through_the_back_channel(espace: dict[str, Any]) -> None:
    settings = load_settings({"ESPACE_CONFIG": espace["config"]})
    db = await Database.open(settings.identity.dsn, name="leaflet", max_size=1)

    async def is_told() -> bool:
        async with db.transaction(CaisseSlug(CAISSE)) as tx:
            return await tx.fetchval(
                "SELECT EXISTS (SELECT FROM logout_delivery WHERE client_id = 'portal' AND delivered_at IS NOT NULL)"
            )

    try:
        await until(is_told, seconds=60)
    finally:
        await db.close()


async def test_every_page_met_was_sound(seen: Seen) -> None:
    assert not seen.faults, "\n".join(seen.faults)


async def test_every_page_of_the_routes_was_met(espace: dict[str, Any], seen: Seen) -> None:
    assert unmet(espace, seen.addresses) == []

"""A page of the portal that asks for two factors (RFC 9470), against the whole of identity, in Chromium.

Somebody who answers for a firm is hired by a cabinet while two of their browsers are signed in by password alone.
One browser has them enrol an application; the other then asks for its code. Each comes back to the very page.
"""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
from playwright.async_api import Browser

from libs.common.database.pool import Database
from libs.common.runtime.settings import load_settings
from libs.common.values.caisse_slug import parse_caisse_slug
from libs.common.values.email import email_key, parse_email
from libs.common.values.identifiers import parse_public_id
from services.demonstration.journey import Journey
from services.identity.cabinets.register import add_collaborator
from services.identity.sign_in import store as people
from tests.journeys.person import Person, Seen
from tests.journeys.post import Telephone, an_account, mailed

CAISSE = "mediterranee"
SEARCHED = f"/{CAISSE}/clients?q={quote('maçon & fils')}"


@pytest.fixture(scope="module")
def seen() -> Seen:
    return Seen()


@pytest.fixture(scope="module")
async def at_work(running_browser: Browser, seen: Seen) -> AsyncIterator[Person]:
    person = await Person.at(running_browser, seen)
    yield person
    await person.leave()


@pytest.fixture(scope="module")
async def at_home(running_browser: Browser, seen: Seen) -> AsyncIterator[Person]:
    person = await Person.at(running_browser, seen)
    yield person
    await person.leave()


@pytest.fixture(scope="module")
async def account(espace: dict[str, Any]) -> Journey:
    return await an_account(espace)


@pytest.fixture(scope="module")
def telephone() -> dict[str, Telephone]:
    """Empty until an application is enrolled on it."""
    return {}


async def signed_in(espace: dict[str, Any], person: Person, account: Journey) -> None:
    await person.open(f"{espace['portal']}/{CAISSE}/sign-in")
    await person.type(email=account.email, password=account.password)
    await person.press("sign-in")
    assert person.page.url == f"{espace['portal']}/{CAISSE}", "a password was enough"


async def hired(espace: dict[str, Any], account: Journey) -> None:
    """The cabinet lets the person in."""
    settings = load_settings({"ESPACE_CONFIG": espace["config"]})
    owner = next(one for one in espace["demo"]["accounts"] if one["role"] == "owner")
    db = await Database.open(settings.identity.dsn, name="tests")
    try:
        async with db.transaction(parse_caisse_slug(CAISSE)) as tx:
            person = await people.find_person(tx, email_key=email_key(parse_email(account.email)))
            assert person is not None
            cabinet_id = parse_public_id("cab", owner["cabinet"])
            await add_collaborator(tx, cabinet_id, person.id, "member", now=datetime.now(UTC))
    finally:
        await db.close()


async def asked_for_more(espace: dict[str, Any], person: Person) -> None:
    await person.open(f"{espace['portal']}{SEARCHED}")
    assert person.status == 403
    assert await person.says("Confirmez que c’est bien vous")


async def proves_the_password_again(person: Person, account: Journey) -> None:
    """Identity knows who is at this browser; a level is reached by all its proofs, the first included."""
    assert await person.page.input_value("#email") == account.email
    await person.type(password=account.password)
    await person.press("sign-in")


async def back_where_they_were(espace: dict[str, Any], person: Person) -> None:
    """Having said in whose name, the very page, with what it holds, and the search that was typed."""
    assert await person.says("Pour quelle entreprise")
    await person.page.get_by_role("radio", name="Mon cabinet").check()
    await person.press("continue")
    assert person.page.url == f"{espace['portal']}{SEARCHED}"
    assert person.status == 200
    assert await person.page.input_value("#q") == "maçon & fils"
    assert not await person.says("Confirmez que c’est bien vous")
    # And another page of that kind asks for nothing.
    await person.open(f"{espace['portal']}/{CAISSE}/clients")
    assert person.status == 200


async def test_1_two_browsers_are_signed_in_by_password_alone(
    espace: dict[str, Any], at_work: Person, at_home: Person, account: Journey
) -> None:
    await signed_in(espace, at_work, account)
    await signed_in(espace, at_home, account)
    await hired(espace, account)


async def test_2_who_has_no_application_proves_the_mailbox_and_enrols_one(
    espace: dict[str, Any], at_work: Person, account: Journey, telephone: dict[str, Telephone]
) -> None:
    await asked_for_more(espace, at_work)
    await at_work.looks("asked-for-more")
    await at_work.press("step-up")
    assert at_work.page.url.startswith(espace["identity"])
    await at_work.looks("sign-in-again")
    await proves_the_password_again(at_work, account)
    await at_work.looks("proof-of-mailbox")
    assert await at_work.says(account.email)
    code = await mailed(espace, account.email, r"\b\d{3}[ \u00a0\u202f]?\d{3}\b")
    await at_work.type(code="".join(code.split()))
    await at_work.press("second-factor")
    await at_work.looks("enrolment")
    secret = re.sub(r"\s", "", await at_work.page.inner_text("code.code"))
    telephone["one"] = Telephone(secret)
    await at_work.type(code="000000")
    await at_work.press("enrol")
    await at_work.looks("enrolment-in-error")
    assert re.sub(r"\s", "", await at_work.page.inner_text("code.code")) == secret, "the same application"
    await at_work.type(code=await telephone["one"].code())
    await at_work.press("enrol")
    await at_work.looks("recovery-codes")
    await at_work.press("onward")
    await back_where_they_were(espace, at_work)


async def test_3_who_has_one_types_its_code_and_comes_back(
    espace: dict[str, Any], at_home: Person, account: Journey, telephone: dict[str, Telephone]
) -> None:
    """The other browser's session is older than the application."""
    await asked_for_more(espace, at_home)
    await at_home.press("step-up")
    await proves_the_password_again(at_home, account)
    await at_home.looks("code-of-the-application")
    assert await at_home.says("Ouvrez votre application d’authentification")
    await at_home.type(code="000000")
    await at_home.press("second-factor")
    assert at_home.page.url.startswith(espace["identity"]), "a wrong code leads nowhere"
    await at_home.type(code=await telephone["one"].code())
    await at_home.press("second-factor")
    await back_where_they_were(espace, at_home)


async def test_4_signing_in_anew_asks_for_the_code_at_once(
    espace: dict[str, Any], at_home: Person, account: Journey, telephone: dict[str, Telephone]
) -> None:
    """Nothing lower is left: the portal's page is open without a second detour."""
    await at_home.open(f"{espace['portal']}/{CAISSE}/sign-out")
    await at_home.press("sign-out")
    await at_home.open(f"{espace['portal']}{SEARCHED}")
    await at_home.type(email=account.email, password=account.password)
    await at_home.press("sign-in")
    await at_home.type(code=await telephone["one"].code())
    await at_home.press("second-factor")
    await back_where_they_were(espace, at_home)


async def test_every_page_met_was_sound(seen: Seen) -> None:
    assert not seen.faults, "\n".join(seen.faults)

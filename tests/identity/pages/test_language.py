"""An English page says its errors in English (WCAG 2.2 §3.1.2), a French one in typeset French."""

import re

import pytest

from libs.common.database.pool import Database
from services.identity.letters.paper_secret import Half, PaperSecrets
from tests.conftest import HeldClock
from tests.identity.sign_in.visitors import CAISSE, Visitor, a_firm, a_person, a_siret, sign_in, told

FRENCH = re.compile(r"[éèàçê]|\b(le|la|les|vous|ce|cette|un|une|votre|pas|est)\b")
LETTERS = f"/{CAISSE}/first-connection/letters"


def summary(page: str) -> str:
    """The error summary of a page, without its markup."""
    part = page.partition('id="error-summary"')[2].partition("</ul>")[0]
    return re.sub("<[^>]+>", " ", part.partition(">")[2])


@pytest.fixture
def reader(visitor: Visitor) -> Visitor:
    visitor.http.headers["accept-language"] = "en"
    return visitor


@pytest.mark.parametrize(
    ("page", "fields"),
    [
        ("sign-in", {"email": "nobody"}),
        ("sign-in", {"email": "nobody@exemple.fr", "password": "not this one at all"}),
        ("forgotten-password", {"email": "nobody"}),
        ("first-connection", {"kind": "", "letters": "", "caisse": "nowhere"}),
        ("first-connection/letters", {"number": "", "identifiant": "K7M2", "code_confidentiel": ""}),
        ("first-connection/letters", {"number": "12345678200011", "identifiant": "K7M2 P9QX Z"}),
    ],
)
async def test_what_is_to_be_mended_is_said_in_english(
    reader: Visitor, page: str, fields: dict[str, str]
) -> None:
    await reader.get(f"/{CAISSE}/{page}")
    answer = await reader.post(f"/{CAISSE}/{page}", **fields)

    assert answer.status_code == 422 and '<html lang="en">' in answer.text
    said = summary(answer.text).replace("Identifiant:", "").replace("Code confidentiel:", "")
    assert said.strip() and not FRENCH.search(said), said


async def test_a_number_is_kept_in_the_translated_sentence(
    reader: Visitor, identity_db: Database, clock: HeldClock
) -> None:
    await a_person(identity_db, clock, "reads-english@exemple.fr")
    await sign_in(reader, "reads-english@exemple.fr")
    page = await reader.post(f"/{CAISSE}/account/password", password="x", new_password="short")

    assert "This password is too short. Choose at least 15 characters." in told(page)


async def test_a_refusal_is_said_in_english(reader: Visitor) -> None:
    assert "<h1>This page does not exist</h1>" in (await reader.get(f"/{CAISSE}/nowhere")).text
    forged = await reader.http.post(f"/{CAISSE}/sign-in", data={})
    assert "<h1>This form is no longer valid</h1>" in forged.text


@pytest.mark.parametrize("missing", [1, 3])
async def test_a_siret_with_a_digit_missing_is_counted_whoever_it_is_of(
    visitor: Visitor, identity_db: Database, paper: PaperSecrets, clock: HeldClock, missing: int
) -> None:
    """The sentence depends on what was typed alone: a known adhérent's number and an unknown one read alike."""
    firm = await a_firm(identity_db, paper, clock)
    typed = a_siret()[:-missing]
    async with identity_db.transaction(CAISSE) as tx:
        await tx.execute("UPDATE adherent SET adherent_number = $2 WHERE id = $1", firm.adherent_id, typed)
    other = Half.IDENTIFIANT.draw(), Half.CODE_CONFIDENTIEL.draw()
    pages: list[str] = []
    for number in (typed, a_siret()[:-missing]):
        await visitor.get(LETTERS)
        answer = await visitor.post(LETTERS, number=number, identifiant=other[0], code_confidentiel=other[1])
        assert answer.status_code == 422
        pages.append(summary(answer.text))
    assert pages[0] == pages[1]
    assert f"Un SIRET compte 14 chiffres\u202f; vous en avez tapé {14 - missing}." in pages[0]
    # And an adhérent's number of thirteen digits, were there one, still opens its space.
    opened = await visitor.post(
        LETTERS, number=typed, identifiant=firm.identifiant, code_confidentiel=firm.code_confidentiel
    )
    assert opened.status_code == 303

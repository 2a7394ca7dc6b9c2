"""The two letters: slips are told, everything else has one answer, ten failures are ten."""

import asyncio

import pytest
from litestar import Litestar

from libs.common.database.pool import Database
from libs.common.values.crockford import check_character
from services.identity.letters.paper_secret import Half, PaperSecrets
from tests.conftest import HeldClock
from tests.identity.sign_in.visitors import CAISSE, Firm, Visitor, a_firm, a_siret, title, told

PAGE = f"/{CAISSE}/first-connection/letters"

BUSY = 503


async def show(visitor: Visitor, number: str, identifiant: str, code: str):
    """What the page answers. Told that the service is busy, a person comes back, and so does a guesser."""
    while not visitor.token:
        await visitor.get(PAGE)
    typed = {"number": number, "identifiant": identifiant, "code_confidentiel": code}
    while (answer := await visitor.post(PAGE, **typed)).status_code == BUSY:
        pass
    return answer


def another(code: str) -> str:
    """A code that passes its check character and is not this one."""
    first = "0" if code[0] != "0" else "1"
    symbols = first + code[1:-1]
    return symbols + check_character(symbols)


async def failures_of(db: Database, firm: Firm) -> tuple[int, str]:
    async with db.transaction(CAISSE) as tx:
        row = await tx.fetchrow("SELECT failures, state FROM letter_pair WHERE id = $1", firm.pair_id)
    assert row is not None
    return row[0], row[1]


async def test_a_slip_is_told_and_not_counted(
    visitor: Visitor, identity_db: Database, paper: PaperSecrets, clock: HeldClock
) -> None:
    firm = await a_firm(identity_db, paper, clock)
    slipped = firm.code_confidentiel[1] + firm.code_confidentiel[0] + firm.code_confidentiel[2:]
    if slipped == firm.code_confidentiel:
        slipped = slipped[:-1] + ("0" if slipped[-1] != "0" else "1")
    for number, identifiant, code, field in (
        (firm.siret, firm.identifiant, slipped, "code-confidentiel"),
        (firm.siret, firm.identifiant[:-1], firm.code_confidentiel, "identifiant"),
        (
            firm.siret[:-1] + str((int(firm.siret[-1]) + 1) % 10),
            firm.identifiant,
            firm.code_confidentiel,
            "number",
        ),
        ("", firm.identifiant, firm.code_confidentiel, "number"),
    ):
        answer = await show(visitor, number, identifiant, code)
        assert answer.status_code == 422
        assert title(answer).startswith("Erreur")
        assert f'id="{field}-error"' in answer.text
        assert f'href="#{field}"' in answer.text
    assert await failures_of(identity_db, firm) == (0, "mailed")


async def test_each_slip_names_its_field_and_what_is_missing(visitor: Visitor) -> None:
    answer = await show(visitor, a_siret(), "K7M2 P9Q", "")
    summary = plain(answer.text.partition('id="error-summary"')[2].partition("</ul>")[0])
    assert "Identifiant : il manque des caractères : vous en avez tapé 7 sur 9." in summary
    assert "Code confidentiel : recopiez ici les caractères de votre courrier." in summary
    slips = await show(visitor, a_siret(), "K7M2 P9QX Z", "0123 4567 89AB Z")
    told_twice = plain(slips.text.partition('id="error-summary"')[2].partition("</ul>")[0])
    assert "Identifiant : un caractère semble mal recopié" in told_twice
    assert "Code confidentiel : un caractère semble mal recopié" in told_twice


def plain(page: str) -> str:
    """The page with ordinary spaces, for French typography has others."""
    return page.replace("\u00a0", " ").replace("\u202f", " ")


async def test_every_other_failure_has_one_page(
    app: Litestar, identity_db: Database, paper: PaperSecrets, clock: HeldClock
) -> None:
    firm = await a_firm(identity_db, paper, clock)
    dead = await a_firm(identity_db, paper, clock)
    async with identity_db.transaction(CAISSE) as tx:
        await tx.execute(
            "UPDATE letter_pair SET state = 'reissued', ended_at = $2 WHERE id = $1", dead.pair_id, clock()
        )
    visitor = Visitor(app)
    pages: set[str] = set()
    for number, identifiant, code in (
        (a_siret(), firm.identifiant, firm.code_confidentiel),
        (firm.siret, Half.IDENTIFIANT.draw(), firm.code_confidentiel),
        (firm.siret, firm.identifiant, Half.CODE_CONFIDENTIEL.draw()),
        (dead.siret, dead.identifiant, dead.code_confidentiel),
        ("UNKNOWN-NUMBER", firm.identifiant, firm.code_confidentiel),
    ):
        answer = await show(visitor, number, identifiant, code)
        assert answer.status_code == 422
        page = answer.text
        for typed in (number, identifiant, code):
            page = page.replace(f'value="{typed}"', 'value="…"')
        pages.add(page)
        assert "set-cookie" not in answer.headers
    assert len(pages) == 1


async def test_a_hundred_guesses_at_once_share_ten_failures(
    app: Litestar, identity_db: Database, paper: PaperSecrets, clock: HeldClock
) -> None:
    firm = await a_firm(identity_db, paper, clock)
    guessers = [Visitor(app, address=f"198.51.100.{n}") for n in range(20)]
    for guesser in guessers:
        await guesser.get(PAGE)
    wrong = another(firm.code_confidentiel)
    answers = await asyncio.gather(
        *(show(guesser, firm.siret, firm.identifiant, wrong) for guesser in guessers for _ in range(5))
    )
    assert {answer.status_code for answer in answers} == {422}
    assert await failures_of(identity_db, firm) == (10, "exhausted")
    late = await show(Visitor(app), firm.siret, firm.identifiant, firm.code_confidentiel)
    assert late.status_code == 422


async def test_a_wrong_identifiant_costs_the_pair_nothing(
    visitor: Visitor, identity_db: Database, paper: PaperSecrets, clock: HeldClock
) -> None:
    firm = await a_firm(identity_db, paper, clock)
    for _ in range(12):
        await show(visitor, firm.siret, Half.IDENTIFIANT.draw(), firm.code_confidentiel)
    assert await failures_of(identity_db, firm) == (0, "mailed")


@pytest.mark.parametrize(
    ("answers", "there"),
    [
        ({"kind": "firm", "letters": "both", "caisse": CAISSE}, f"/{CAISSE}/first-connection/letters"),
        ({"kind": "firm", "letters": "one", "caisse": CAISSE}, f"/{CAISSE}/first-connection/missing-letter"),
        ({"kind": "cabinet", "letters": "", "caisse": CAISSE}, f"/{CAISSE}/first-connection/cabinet"),
        (
            {"kind": "firm", "letters": "both", "caisse": "grand-ouest"},
            "/grand-ouest/first-connection/letters",
        ),
    ],
)
async def test_the_questions_lead_to_the_right_page(
    visitor: Visitor, answers: dict[str, str], there: str
) -> None:
    await visitor.get(f"/{CAISSE}/first-connection")
    answer = await visitor.post(f"/{CAISSE}/first-connection", **answers)
    assert answer.headers["location"].endswith(there)
    assert (await visitor.get(there)).status_code == 200


async def test_unanswered_questions_are_asked_again(visitor: Visitor) -> None:
    await visitor.get(f"/{CAISSE}/first-connection")
    answer = await visitor.post(f"/{CAISSE}/first-connection", caisse="nowhere")
    assert answer.status_code == 422
    assert "3 points sont à corriger" in told(answer)


async def test_a_reader_of_english_gets_english(app: Litestar) -> None:
    reader = Visitor(app)
    page = await reader.http.get(PAGE, headers={"accept-language": "en-GB,fr;q=0.5"})
    assert page.headers["content-language"] == "en"
    assert "Your two letters" in told(page)
    assert "courrier" not in told(page)

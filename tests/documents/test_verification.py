"""The public page: whoever holds a paper learns what it is worth, and nothing else."""

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from uuid import UUID, uuid4

import httpx
import pytest

from libs.common.database.pool import Database
from libs.common.database.transaction import Tx
from libs.common.events.documents import ActedBy
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.values.caisse_slug import CaisseSlug
from services.documents.attestations.issue import Issued, Workshop, issue_attestation
from services.documents.attestations.permission import MayRequestAttestation, MayWithdraw
from services.documents.attestations.withdraw import withdraw_attestation
from tests.documents.conftest import ELSEWHERE, HERE, Firms
from tests.documents.judging import JudgedHere

PAGE = f"/{HERE}/verification"
HTML = {"Accept": "text/html"}
JSON = {"Accept": "application/json"}


@pytest.fixture
async def issued(shop: Workshop, eligibility: JudgedHere, firms: Firms) -> Issued:
    return await issue(shop, eligibility, await firms.settled("CHARPENTES NOËL & ŒUVRES D’ART"))


async def issue(shop: Workshop, eligibility: JudgedHere, firm: UUID, caisse: CaisseSlug = HERE) -> Issued:
    return await issue_attestation(
        shop,
        eligibility,
        MayRequestAttestation(caisse, firm, ActedBy(client_id="portal")),
        kind="up_to_date",
        request_key=str(uuid4()),
        now=datetime.now(UTC),
    )


async def check(
    api: httpx.AsyncClient, code: str, *, page: str = PAGE, headers: dict[str, str] = HTML
) -> httpx.Response:
    return await api.post(page, data={"code": code}, headers=headers)


async def test_the_page_asks_for_one_code_and_sets_no_cookie(
    documents_api: httpx.AsyncClient, shop: Workshop
) -> None:
    page = await documents_api.get(PAGE, headers=HTML)

    assert page.status_code == 200
    assert page.text.count("<h1") == 1
    assert "set-cookie" not in page.headers
    assert page.headers["referrer-policy"] == "no-referrer"
    assert "noindex" in page.headers["x-robots-tag"]
    assert "<script" not in page.text


async def test_a_code_shows_what_is_printed_and_its_state(
    documents_api: httpx.AsyncClient, issued: Issued
) -> None:
    page = await check(documents_api, issued.draft.code)

    assert page.status_code == 200
    assert "Attestation authentique" in page.text
    assert "CHARPENTES NOËL &amp; ŒUVRES D’ART" in page.text
    assert issued.payload.id in page.text
    assert "set-cookie" not in page.headers


@pytest.mark.parametrize(
    "written",
    [
        str.lower,
        lambda code: f"  {code[:4]} {code[4:8]}-{code[8:]} ",
        lambda code: code.replace("0", "o").replace("1", "l"),
    ],
)
async def test_a_code_may_be_typed_as_people_type(
    documents_api: httpx.AsyncClient, issued: Issued, written
) -> None:  # type: ignore[no-untyped-def]
    assert (await check(documents_api, written(issued.draft.code))).status_code == 200


async def test_the_qr_code_leads_to_the_answer(documents_api: httpx.AsyncClient, issued: Issued) -> None:
    page = await documents_api.get(f"/a/{issued.draft.code}", headers=HTML)

    assert page.status_code == 200
    assert issued.payload.id in page.text
    assert "set-cookie" not in page.headers


async def test_a_program_reads_json(documents_api: httpx.AsyncClient, issued: Issued) -> None:
    told = await documents_api.post(PAGE, json={"code": issued.draft.code}, headers=JSON)

    body = told.json()
    assert (body["result"], body["state"]) == ("known", "valid")
    assert body["attestation"]["legal_name"] == "CHARPENTES NOËL & ŒUVRES D’ART"
    assert issued.draft.code not in told.text


async def test_unknown_malformed_and_foreign_codes_answer_alike(
    documents_api: httpx.AsyncClient, shop: Workshop, eligibility: JudgedHere, firms: Firms
) -> None:
    foreign = await issue(shop, eligibility, await firms.settled(caisse=ELSEWHERE), ELSEWHERE)
    codes = {
        "unknown": "0123456789ABCDEF",
        "foreign": foreign.draft.code,
        "malformed": "é'--\"<b>",
        "empty": "",
        "long": "A" * 5000,
    }

    answers = {name: await check(documents_api, code) for name, code in codes.items() if name != "long"}

    assert {answer.status_code for answer in answers.values()} == {404}
    assert len({answer.content for answer in answers.values()}) == 1
    assert len({re.sub("date: .*", "", str(answer.headers)) for answer in answers.values()}) == 1
    assert (
        await check(documents_api, foreign.draft.code, page=f"/{ELSEWHERE}/verification")
    ).status_code == 200


async def test_the_three_ask_the_database_the_same(
    documents_api: httpx.AsyncClient,
    shop: Workshop,
    eligibility: JudgedHere,
    firms: Firms,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same work, statement for statement, is what makes their times alike."""
    foreign = (await issue(shop, eligibility, await firms.settled(caisse=ELSEWHERE), ELSEWHERE)).draft.code
    asked: list[str] = []

    def telling(verb: str) -> Callable[..., Awaitable[object]]:
        ask = getattr(Tx, verb)

        async def told(tx: Tx, sql: str, *args: object) -> object:
            asked.append(sql)
            return await ask(tx, sql, *args)

        return told

    for verb in ("fetch", "fetchrow", "fetchval", "execute"):
        monkeypatch.setattr(Tx, verb, telling(verb))
    work: list[list[str]] = []
    for code in ("0123456789ABCDEFG", foreign, "n'importe quoi"):
        await check(documents_api, code, headers=JSON)
        work.append(asked.copy())
        asked.clear()

    assert work[0], "nothing was asked of the database"
    assert work[1] == work[0]
    assert work[2] == work[0]


async def test_a_withdrawn_paper_says_so(
    documents_api: httpx.AsyncClient, shop: Workshop, issued: Issued
) -> None:
    async with shop.db.transaction(HERE) as tx:
        await withdraw_attestation(
            tx,
            MayWithdraw(HERE, ActedBy(client_id="desk")),
            issued.row.id,
            reason="fraude",
            now=datetime.now(UTC),
        )

    page = await check(documents_api, issued.draft.code)

    assert "Attestation retirée par la caisse" in page.text
    assert "fraude" not in page.text


async def test_each_check_is_written_down_without_its_visitor(
    documents_api: httpx.AsyncClient, issued: Issued, documents_db: Database
) -> None:
    await check(documents_api, issued.draft.code)

    async with documents_db.transaction(HERE) as tx:
        row = await tx.fetchrow(
            """
            SELECT details::text, person_id
              FROM journal
             WHERE action = 'attestation.checked' AND adherent_id = $1
            """,
            issued.row.adherent_id,
        )
    assert row is not None
    assert row["person_id"] is None
    assert "127.0.0.1" not in row["details"]
    assert issued.draft.code not in row["details"]


async def test_whoever_checks_without_end_fills_a_line_a_minute(
    documents_api: httpx.AsyncClient, issued: Issued, documents_db: Database
) -> None:
    async def lines() -> int:
        async with documents_db.transaction(HERE) as tx:
            return await tx.fetchval(
                "SELECT count(*) FROM journal WHERE action = 'attestation.checked' AND adherent_id = $1",
                issued.row.adherent_id,
            )

    before = await lines()
    for _ in range(20):
        assert (await check(documents_api, issued.draft.code)).status_code == 200
    # Two when the clock strikes meanwhile.
    assert await lines() - before <= 2


async def test_no_column_in_clear_holds_the_code(issued: Issued, documents_db: Database) -> None:
    async with documents_db.transaction(HERE) as tx:
        for table in ("attestation", "verification_address", "journal", "outbox", "attestation_request"):
            assert not await tx.fetchval(
                f"SELECT count(*) FROM {table} AS kept WHERE kept::text LIKE '%' || $1 || '%'",
                str(issued.draft.code),
            )


async def test_a_dropped_file_is_recognised(
    documents_api: httpx.AsyncClient, shop: Workshop, issued: Issued
) -> None:
    content = await shop.files.get(issued.row.file_path or "")
    page = await drop(documents_api, content)

    assert page.status_code == 200
    assert issued.payload.id in page.text


async def test_a_changed_file_is_refused(
    documents_api: httpx.AsyncClient, shop: Workshop, issued: Issued
) -> None:
    content = await shop.files.get(issued.row.file_path or "")
    page = await drop(documents_api, content + b"\n%plus\n")

    assert page.status_code == 404
    assert "Ne vous fiez pas à ce fichier" in page.text


async def test_a_file_that_is_no_pdf_is_answered_too(
    documents_api: httpx.AsyncClient, shop: Workshop
) -> None:
    assert "ne peut pas être contrôlé" in (await drop(documents_api, b"\x00" * 2048)).text


async def drop(api: httpx.AsyncClient, content: bytes) -> httpx.Response:
    return await api.post(f"{PAGE}/file", files={"file": ("a.pdf", content, "application/pdf")}, headers=HTML)


async def test_an_unknown_caisse_has_no_page(documents_api: httpx.AsyncClient, keys: KeyEncryption) -> None:
    assert (await documents_api.get("/atlantide/verification", headers=JSON)).status_code == 404


async def test_a_hostile_name_is_text_on_the_page(
    documents_api: httpx.AsyncClient, shop: Workshop, eligibility: JudgedHere, firms: Firms
) -> None:
    nasty = await issue(
        shop, eligibility, await firms.settled("<script>alert(1)</script> {{ 7*7 }} \u202egnol")
    )

    page = await check(documents_api, nasty.draft.code)

    assert "&lt;script&gt;alert(1)&lt;/script&gt; {{ 7*7 }} gnol" in page.text


async def test_the_page_speaks_english_to_who_asks(documents_api: httpx.AsyncClient, issued: Issued) -> None:
    page = await check(documents_api, issued.draft.code, headers={**HTML, "Accept-Language": "en"})

    assert "Genuine certificate" in page.text
    assert "Compare with the document in your hands" in page.text

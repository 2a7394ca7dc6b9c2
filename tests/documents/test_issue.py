"""One request key gives one attestation, numbers have no gap, and a refusal says why."""

import asyncio
from datetime import UTC, datetime
from io import BytesIO
from uuid import UUID, uuid4

import msgspec
import pytest
from pyhanko.pdf_utils.reader import PdfFileReader

from libs.common.database.pool import Database
from libs.common.events.documents import ActedBy
from libs.common.refusals import NotFound
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.identifiers import new_id
from services.documents.attestations import store
from services.documents.attestations.eligibility import EligibilityUnavailable, Judgement, NotUpToDate
from services.documents.attestations.issue import (
    Issued,
    Workshop,
    finish_attestation,
    issue_attestation,
    reserve,
)
from services.documents.attestations.payload import canonical
from services.documents.attestations.permission import MayRequestAttestation, MayWithdraw
from services.documents.attestations.press import Press, PressBusy
from services.documents.attestations.sweep import PATIENCE, sweep_half_way
from services.documents.attestations.withdraw import NotWithdrawable, withdraw_attestation
from tests.documents.conftest import ELSEWHERE, HERE, Firms
from tests.documents.judging import JudgedHere

BY = ActedBy(
    client_id="portal",
    person_id=new_id(),
    cabinet_id=new_id(),
    mandate_id=new_id(),
    mandate_version=7,
    token_jti="jti-1",
)


def now() -> datetime:
    return datetime.now(UTC)


def may(firm: UUID, caisse: CaisseSlug = HERE) -> MayRequestAttestation:
    return MayRequestAttestation(caisse, firm, BY)


async def issue(shop: Workshop, eligibility: JudgedHere, firm: UUID, key: str | None = None) -> Issued:
    return await issue_attestation(
        shop, eligibility, may(firm), kind="up_to_date", request_key=key or str(uuid4()), now=now()
    )


async def numbers(db: Database, caisse: CaisseSlug = HERE) -> list[int]:
    async with db.transaction(caisse) as tx:
        rows = await tx.fetch("SELECT number FROM attestation WHERE number IS NOT NULL ORDER BY number")
    return [row[0] for row in rows]


async def test_a_settled_firm_gets_a_sealed_paper(
    shop: Workshop, eligibility: JudgedHere, firms: Firms
) -> None:
    issued = await issue(shop, eligibility, await firms.settled())

    content = await shop.files.get(issued.row.file_path or "")
    assert content.startswith(b"%PDF-1.7")
    assert canonical(issued.payload) in await asyncio.to_thread(attached, content)
    assert issued.row.by == BY


def attached(content: bytes) -> list[bytes]:
    """The files embedded in a PDF."""
    names = PdfFileReader(BytesIO(content)).root["/Names"]["/EmbeddedFiles"]["/Names"]
    return [entry.get_object()["/EF"]["/F"].data for entry in list(names)[1::2]]


async def test_the_stored_file_is_ciphertext(
    shop: Workshop, eligibility: JudgedHere, firms: Firms, settings
) -> None:  # type: ignore[no-untyped-def]
    issued = await issue(shop, eligibility, await firms.settled("NOM TRÈS SECRET"))

    assert settings.files is not None
    stored = (settings.files / (issued.row.file_path or "")).read_bytes()

    assert b"%PDF" not in stored
    assert len(stored) > (issued.row.file_size or 0)


async def test_the_judgement_is_frozen_with_its_inputs(
    shop: Workshop, eligibility: JudgedHere, firms: Firms
) -> None:
    issued = await issue(shop, eligibility, await firms.settled())

    frozen = msgspec.json.decode(issued.draft.judgement)

    assert frozen["is_up_to_date"] is True
    assert frozen["inputs"]["statements"][0]["paid_cents"] == 100_00


async def test_twenty_requests_with_one_key_make_one_attestation(
    shop: Workshop, eligibility: JudgedHere, firms: Firms
) -> None:
    firm, key = await firms.settled(), str(uuid4())
    before = await numbers(shop.db)

    issued = await asyncio.gather(*(issue(shop, eligibility, firm, key) for _ in range(20)))

    assert len({one.row.id for one in issued}) == 1
    assert len({one.row.byte_range_digest for one in issued}) == 1
    assert await numbers(shop.db) == [*before, len(before) + 1]


async def test_the_same_facts_the_same_day_are_the_same_paper(
    shop: Workshop, eligibility: JudgedHere, firms: Firms
) -> None:
    firm = await firms.settled()
    issued = await asyncio.gather(*(issue(shop, eligibility, firm) for _ in range(5)))

    assert len({one.row.id for one in issued}) == 1


async def test_a_corrected_name_replaces_the_paper_of_the_day(
    shop: Workshop, eligibility: JudgedHere, firms: Firms, adherent_db: Database
) -> None:
    firm = await firms.settled("MACONNERIE DUPRE")
    first = await issue(shop, eligibility, firm)
    async with adherent_db.transaction(HERE) as tx:
        await tx.execute("UPDATE member SET legal_name = 'MAÇONNERIE DUPRÉ' WHERE id = $1", firm)

    second = await issue(shop, eligibility, firm)

    assert second.payload.remplace == first.payload.id
    async with shop.db.transaction(HERE) as tx:
        replaced = await store.find(tx, first.row.id)
    assert replaced is not None
    assert replaced.status == "superseded"


async def two_names_reserved(
    shop: Workshop, eligibility: JudgedHere, firms: Firms, adherent_db: Database
) -> list[UUID]:
    """The paper of a mistaken name, then of the right one, both left at their first step."""
    firm = await firms.settled("MACONNERIE DUPRE")
    reserved: list[UUID] = []
    for name in ("MACONNERIE DUPRE", "MAÇONNERIE DUPRÉ"):
        async with adherent_db.transaction(HERE) as tx:
            await tx.execute("UPDATE member SET legal_name = $2 WHERE id = $1", firm, name)
        judgement = await eligibility.judge(HERE, firm)
        reserved.append(
            await reserve(shop, may(firm), judgement, kind="up_to_date", request_key=str(uuid4()), now=now())
        )
    return reserved


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["in-order", "the-mistaken-last"])
async def test_a_paper_finished_late_does_not_outlive_the_one_that_corrects_it(
    shop: Workshop, eligibility: JudgedHere, firms: Firms, adherent_db: Database, order: tuple[int, int]
) -> None:
    papers = await two_names_reserved(shop, eligibility, firms, adherent_db)
    for place in order:
        await finish_attestation(shop, HERE, papers[place], now=now())
    assert await statuses(shop, papers) == ["superseded", "valid"]


async def test_two_papers_of_one_day_sealed_at_once_leave_one_valid(
    shop: Workshop, eligibility: JudgedHere, firms: Firms, adherent_db: Database
) -> None:
    papers = await two_names_reserved(shop, eligibility, firms, adherent_db)
    await asyncio.gather(*(finish_attestation(shop, HERE, one, now=now()) for one in papers))
    assert await statuses(shop, papers) == ["superseded", "valid"]


async def statuses(shop: Workshop, papers: list[UUID]) -> list[str]:
    async with shop.db.transaction(HERE) as tx:
        rows = [await store.find(tx, one) for one in papers]
    return [row.status for row in rows if row is not None]


async def test_numbers_have_no_gap_under_a_rush(
    shop: Workshop, eligibility: JudgedHere, firms: Firms
) -> None:
    some = [await firms.settled() for _ in range(8)]
    await asyncio.gather(*(issue(shop, eligibility, firm) for firm in some))

    taken = await numbers(shop.db)

    assert taken == list(range(1, len(taken) + 1))


async def test_each_caisse_counts_for_itself(shop: Workshop, eligibility: JudgedHere, firms: Firms) -> None:
    firm = await firms.settled(caisse=ELSEWHERE)
    issued = await issue_attestation(
        shop, eligibility, may(firm, ELSEWHERE), kind="up_to_date", request_key="elsewhere", now=now()
    )

    assert issued.payload.id == f"grand-ouest-{now().year}-000001"
    async with shop.db.transaction(HERE) as tx:
        assert await store.find(tx, issued.row.id) is None


async def test_a_late_firm_is_refused_with_reasons_and_the_refusal_is_told(
    shop: Workshop, eligibility: JudgedHere, firms: Firms
) -> None:
    firm = await firms.late()
    with pytest.raises(NotUpToDate) as refused:
        await issue(shop, eligibility, firm)

    (reason,) = refused.value.reasons
    assert (reason.code, reason.period, reason.amount_cents) == ("statement_unpaid", "2026-08", 1_234_56)
    assert "1\u202f234,56\u00a0€" in reason.remedy
    async with shop.db.transaction(HERE) as tx:
        body = await tx.fetchval(
            "SELECT body FROM outbox WHERE subject LIKE '%attestation.refused.v1' LIMIT 1"
        )
    assert b"statement_unpaid" in body


async def test_a_refused_key_works_once_the_firm_has_paid(
    shop: Workshop, eligibility: JudgedHere, firms: Firms, adherent_db: Database
) -> None:
    firm, key = await firms.late(), str(uuid4())
    with pytest.raises(NotUpToDate):
        await issue(shop, eligibility, firm, key)
    async with adherent_db.transaction(HERE) as tx:
        await tx.execute(
            """
            DELETE FROM statement
             WHERE adherent_number = (SELECT adherent_number FROM member WHERE id = $1)
            """,
            firm,
        )

    assert (await issue(shop, eligibility, firm, key)).row.state == "sealed"


class NobodyAnswers:
    """The adherent service is away."""

    async def judge(self, caisse: CaisseSlug, adherent_id: UUID) -> Judgement:
        raise EligibilityUnavailable


async def test_an_outage_is_never_a_refusal(shop: Workshop, firms: Firms) -> None:
    before = await numbers(shop.db)
    with pytest.raises(EligibilityUnavailable):
        await issue_attestation(
            shop,
            NobodyAnswers(),
            may(await firms.settled()),
            kind="up_to_date",
            request_key="outage-1",
            now=now(),
        )

    assert await numbers(shop.db) == before


async def test_an_answered_key_needs_no_second_judgement(
    shop: Workshop, eligibility: JudgedHere, firms: Firms
) -> None:
    firm, key = await firms.settled(), str(uuid4())
    first = await issue(shop, eligibility, firm, key)

    again = await issue_attestation(
        shop, NobodyAnswers(), may(firm), kind="up_to_date", request_key=key, now=now()
    )

    assert again.row.id == first.row.id


async def test_an_unknown_firm_is_not_found(shop: Workshop, eligibility: JudgedHere) -> None:
    with pytest.raises(NotFound):
        await issue(shop, eligibility, new_id())


async def test_the_sweeper_finishes_what_was_left(
    shop: Workshop, eligibility: JudgedHere, firms: Firms, documents_relay: Database
) -> None:
    firm = await firms.settled()
    judgement = await eligibility.judge(HERE, firm)
    attestation_id = await reserve(
        shop, may(firm), judgement, kind="up_to_date", request_key="left-1", now=now()
    )

    assert await sweep_half_way(shop, documents_relay, now=now()) == 0
    assert await sweep_half_way(shop, documents_relay, now=now() + 2 * PATIENCE) == 1

    async with shop.db.transaction(HERE) as tx:
        row = await store.find(tx, attestation_id)
    assert row is not None
    assert row.state == "sealed"


async def test_a_row_that_does_not_open_holds_up_no_other(
    shop: Workshop, eligibility: JudgedHere, firms: Firms, documents_relay: Database
) -> None:
    broken, sound = [
        await reserve(
            shop,
            may(firm),
            await eligibility.judge(HERE, firm),
            kind="up_to_date",
            request_key=str(uuid4()),
            now=now(),
        )
        for firm in (await firms.settled(), await firms.settled())
    ]
    async with shop.db.transaction(HERE) as tx:
        await tx.execute("UPDATE attestation SET draft = 'altered'::bytea WHERE id = $1", broken)

    # One at a time, the broken row comes first.
    assert await sweep_half_way(shop, documents_relay, now=now() + 2 * PATIENCE, at_once=1) == 1

    async with shop.db.transaction(HERE) as tx:
        rows = [await store.find(tx, one) for one in (broken, sound)]
        # Later tests count on nothing being left half-way.
        await tx.execute("DELETE FROM attestation_request WHERE attestation_id = $1", broken)
        await tx.execute("DELETE FROM attestation WHERE id = $1", broken)
    assert [row and row.state for row in rows] == ["reserved", "sealed"]


async def test_a_full_press_says_come_back() -> None:
    press = Press(workers=1, waiting=1)
    gate = asyncio.get_running_loop().create_future()
    started = asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow() -> None:
        loop.call_soon_threadsafe(started.set)
        asyncio.run_coroutine_threadsafe(asyncio.wait_for(asyncio.shield(gate), 10), loop).result()

    first = asyncio.create_task(press.print(slow))
    await started.wait()
    with pytest.raises(PressBusy):
        await press.print(lambda: None)
    gate.set_result(None)
    await first
    press.close()


async def test_a_withdrawal_happens_once(shop: Workshop, eligibility: JudgedHere, firms: Firms) -> None:
    firm = await firms.settled()
    issued = await issue(shop, eligibility, firm)
    officer = MayWithdraw(HERE, ActedBy(client_id="desk"))

    async def withdraw() -> None:
        async with shop.db.transaction(HERE) as tx:
            await withdraw_attestation(tx, officer, issued.row.id, reason="erreur", now=now())

    answers = await asyncio.gather(withdraw(), withdraw(), return_exceptions=True)

    assert sorted(type(answer).__name__ for answer in answers) == ["NoneType", NotWithdrawable.__name__]
    assert (await issue(shop, eligibility, firm)).row.id != issued.row.id

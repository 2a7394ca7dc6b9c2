"""What the firm and its cabinet get from the documents service."""

from io import BytesIO
from uuid import UUID, uuid4

import httpx
import pytest
from pyhanko.pdf_utils.reader import PdfFileReader

from libs.common.access.resource_server import ResourceServer
from libs.common.database.pool import Database
from libs.common.events.documents import AttestationIssued
from libs.common.events.envelope import decode
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.runtime.settings import Settings
from libs.common.values.identifiers import new_id, parse_public_id, public_id
from services.documents.app import create_app
from tests.adherent.callers import Caller, OneIssuer, says_standing, served
from tests.documents.conftest import HERE, Firms

PERSON, CABINET, MANDATE = new_id(), new_id(), new_id()


@pytest.fixture
def caller(issuer: OneIssuer, settings: Settings) -> Caller:
    return Caller(issuer, settings, "documents", HERE)


def of(firm: UUID) -> str:
    return f"/adherents/{public_id('adh', firm)}"


async def asked(
    api: httpx.AsyncClient, caller: Caller, firm: UUID, token: str, *, key: str | None = None
) -> httpx.Response:
    headers = {"Idempotency-Key": key or str(uuid4())}
    return await caller.ask(
        api, "POST", f"{of(firm)}/attestations", token, json={"kind": "up_to_date"}, headers=headers
    )


async def test_a_collaborator_asks_and_the_member_sees_who(
    documents_api: httpx.AsyncClient, caller: Caller, firms: Firms
) -> None:
    firm = await firms.settled()
    token = caller.delegated(firm, PERSON, CABINET, MANDATE, "attestation.request", "attestation.read")

    answer = await asked(documents_api, caller, firm, token)

    assert answer.status_code == 201
    told = answer.json()
    assert set(told) >= {
        "id",
        "number",
        "kind",
        "issued_at",
        "verification_code",
        "verification_url",
        "file_url",
    }
    own = caller.own(firm, PERSON, "attestation.read")
    acts = (await caller.ask(documents_api, "GET", f"{of(firm)}/acts", own)).json()["acts"]
    assert [
        (act["action"], act["cabinet"], act["mandate"], act["mandate_version"], act["person"]) for act in acts
    ] == [
        (
            "attestation.issued",
            public_id("cab", CABINET),
            public_id("mdt", MANDATE),
            7,
            public_id("per", PERSON),
        )
    ]
    assert acts[0]["detail"] == told["number"]


async def test_a_cabinet_s_software_asks_and_reads_and_the_member_sees_which(
    documents_api: httpx.AsyncClient, documents_db: Database, caller: Caller, firms: Firms
) -> None:
    """In the journal, with whoever answers for it; in the fact too."""
    firm, machine = await firms.settled(), new_id()
    token = caller.delegated(
        firm, PERSON, CABINET, MANDATE, "attestation.request", "attestation.read", machine=machine
    )
    made = (await asked(documents_api, caller, firm, token)).json()
    await caller.ask(documents_api, "GET", f"/attestations/{made['id']}/file", token)

    own = caller.own(firm, PERSON, "attestation.read")
    acts = (await caller.ask(documents_api, "GET", f"{of(firm)}/acts", own)).json()["acts"]
    assert [(act["action"], act["person"], act["machine"], act["details"]["sponsor"]) for act in acts] == [
        (action, None, public_id("mch", machine), public_id("per", PERSON))
        for action in ("attestation.downloaded", "attestation.issued")
    ]
    async with documents_db.transaction(HERE) as tx:
        row = await tx.fetchrow(
            "SELECT subject, body FROM outbox WHERE subject LIKE '%.attestation.issued.v1'"
            " ORDER BY position DESC LIMIT 1"
        )
    assert row is not None
    fact = decode(row["subject"], row["body"])[1]
    assert isinstance(fact, AttestationIssued)
    assert (fact.by.person_id, fact.by.machine_id, fact.by.sponsor_id) == (None, machine, PERSON)


async def test_the_file_is_the_sealed_pdf(
    documents_api: httpx.AsyncClient, caller: Caller, firms: Firms, settings: Settings
) -> None:
    firm = await firms.settled()
    own = caller.own(firm, PERSON, "attestation.request", "attestation.read")
    told = (await asked(documents_api, caller, firm, own)).json()
    path = told["file_url"].removeprefix(f"{settings.documents.base}/{HERE}")

    file = await caller.ask(documents_api, "GET", path, own)

    assert file.headers["content-type"] == "application/pdf"
    assert len(list(PdfFileReader(BytesIO(file.content)).embedded_signatures)) == 1
    listed = (await caller.ask(documents_api, "GET", f"{of(firm)}/attestations", own)).json()["attestations"]
    assert [(one["id"], one["state"]) for one in listed] == [(told["id"], "valid")]


async def test_one_paper_downloaded_again_and_again_hides_no_older_act(
    documents_api: httpx.AsyncClient, caller: Caller, firms: Firms
) -> None:
    firm = await firms.settled()
    token = caller.delegated(firm, PERSON, CABINET, MANDATE, "attestation.request", "attestation.read")
    made = (await asked(documents_api, caller, firm, token)).json()
    for _ in range(6):
        await caller.ask(documents_api, "GET", f"/attestations/{made['id']}/file", token)

    own = caller.own(firm, PERSON, "attestation.read")
    acts = (await caller.ask(documents_api, "GET", f"{of(firm)}/acts", own)).json()["acts"]
    # The minute may turn over on the way.
    assert [act["action"] for act in acts].count("attestation.downloaded") in (1, 2)


@pytest.mark.parametrize("left", [None, b"", b"half of it"], ids=["gone", "empty", "truncated"])
async def test_a_file_that_the_store_lost_is_printed_again(
    documents_api: httpx.AsyncClient, caller: Caller, firms: Firms, settings: Settings, left: bytes | None
) -> None:
    firm = await firms.settled()
    own = caller.own(firm, PERSON, "attestation.request", "attestation.read")
    told = (await asked(documents_api, caller, firm, own)).json()
    path = told["file_url"].removeprefix(f"{settings.documents.base}/{HERE}")
    before = await caller.ask(documents_api, "GET", path, own)
    assert settings.files is not None
    (kept,) = (one for one in settings.files.rglob(f"{parse_public_id('att', told['id'])}-*.pdf"))
    kept.unlink()
    if left is not None:
        kept.write_bytes(left)

    after = await caller.ask(documents_api, "GET", path, own)

    assert (after.status_code, after.content) == (200, before.content)
    assert kept.stat().st_size > len(before.content)


async def test_the_same_key_gives_the_same_answer(
    documents_api: httpx.AsyncClient, caller: Caller, firms: Firms
) -> None:
    firm = await firms.settled()
    token = caller.own(firm, PERSON, "attestation.request")

    first = await asked(documents_api, caller, firm, token, key="a-key-of-the-page")
    second = await asked(documents_api, caller, firm, token, key="a-key-of-the-page")

    assert first.json() == second.json()


async def test_a_refusal_tells_its_reasons(
    documents_api: httpx.AsyncClient, caller: Caller, firms: Firms
) -> None:
    firm = await firms.late()
    answer = await asked(documents_api, caller, firm, caller.own(firm, PERSON, "attestation.request"))

    assert answer.status_code == 409
    assert answer.headers["content-type"].startswith("application/problem+json")
    (reason,) = answer.json()["reasons"]
    assert (reason["code"], reason["period"], reason["amount_cents"]) == (
        "statement_unpaid",
        "2026-08",
        1_234_56,
    )


@pytest.mark.parametrize("key", ["", "short", "é" * 10, "x" * 200])
async def test_a_request_without_a_proper_key_is_refused(
    documents_api: httpx.AsyncClient, caller: Caller, firms: Firms, key: str
) -> None:
    firm = await firms.settled()
    token = caller.own(firm, PERSON, "attestation.request")
    answer = await caller.ask(
        documents_api,
        "POST",
        f"{of(firm)}/attestations",
        token,
        json={"kind": "up_to_date"},
        headers={b"Idempotency-Key": key.encode()},
    )

    assert (answer.status_code, answer.json()["type"]) == (400, "urn:espace:problem:request-key-missing")


async def test_reading_does_not_allow_asking(
    documents_api: httpx.AsyncClient, caller: Caller, firms: Firms
) -> None:
    firm = await firms.settled()
    token = caller.own(firm, PERSON, "attestation.read")

    assert (await asked(documents_api, caller, firm, token)).status_code == 403


async def test_another_firms_file_answers_like_an_unknown_one(
    documents_api: httpx.AsyncClient, caller: Caller, firms: Firms, settings: Settings
) -> None:
    firm = await firms.settled()
    told = (await asked(documents_api, caller, firm, caller.own(firm, PERSON, "attestation.request"))).json()
    stranger = caller.own(await firms.settled(), PERSON, "attestation.read", "attestation.request")

    foreign = await caller.ask(documents_api, "GET", f"/attestations/{told['id']}/file", stranger)
    unknown = await caller.ask(
        documents_api, "GET", f"/attestations/{public_id('att', new_id())}/file", stranger
    )

    assert (foreign.status_code, foreign.content) == (404, unknown.content)
    assert (await asked(documents_api, caller, firm, stranger)).status_code == 404


async def test_without_the_adherent_service_it_is_unavailable_not_refused(
    settings: Settings, issuer: OneIssuer, caller: Caller, firms: Firms, keys: KeyEncryption
) -> None:
    firm = await firms.settled()
    access = ResourceServer(settings, "documents", keys, key_source=issuer, introspect=says_standing)
    async with served(create_app(settings, access=access), settings.documents.base) as http:
        answer = await asked(http, caller, firm, caller.own(firm, PERSON, "attestation.request"))

    assert (answer.status_code, answer.json()["type"]) == (503, "urn:espace:problem:unavailable")
    assert "refus" in answer.json()["title"]


async def test_the_authority_and_its_list_are_published(
    documents_api: httpx.AsyncClient, caller: Caller, firms: Firms
) -> None:
    for name, kind in (("authority.cer", "application/pkix-cert"), ("authority.crl", "application/pkix-crl")):
        answer = await documents_api.get(f"/{HERE}/seals/{name}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, kind)


async def test_a_mandate_for_one_establishment_opens_no_attestation_of_the_firm(
    documents_api: httpx.AsyncClient, caller: Caller, firms: Firms
) -> None:
    """An attestation speaks for the legal unit (delegation.md §3, check 4)."""
    firm = await firms.settled()
    scopes = ("attestation.request", "attestation.read")
    own = caller.own(firm, PERSON, *scopes)
    made = (await asked(documents_api, caller, firm, own)).json()
    limited = caller.delegated(
        firm, PERSON, CABINET, MANDATE, *scopes, establishments=[public_id("est", new_id())]
    )

    answers = [
        await asked(documents_api, caller, firm, limited),
        await caller.ask(documents_api, "GET", f"{of(firm)}/attestations", limited),
        await caller.ask(documents_api, "GET", f"/attestations/{made['id']}/file", limited),
    ]
    assert [answer.status_code for answer in answers] == [403, 403, 403]
    assert {answer.json()["type"].rsplit(":", 1)[-1] for answer in answers} == {"beyond-mandate"}
    listed = await caller.ask(documents_api, "GET", f"{of(firm)}/attestations", own)
    assert len(listed.json()["attestations"]) == 1, "nothing was written"

"""What the firm, its cabinet and the documents service get from the adherent service."""

from datetime import date
from uuid import UUID

import httpx
import pytest

from libs.common.database.pool import Database
from libs.common.events.adherent import ActNoted
from libs.common.events.envelope import decode
from libs.common.runtime.settings import Settings
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.identifiers import new_id, public_id
from services.adherent.contributions.store import (
    PaymentToKeep,
    StatementToKeep,
    keep_payments,
    keep_statements,
)
from services.adherent.member_file.hear_of_member import hear_of_member
from tests.adherent.callers import Caller, OneIssuer
from tests.adherent.members import a_member, a_site

HERE = CaisseSlug("mediterranee")
PERSON, CABINET, MANDATE = new_id(), new_id(), new_id()


@pytest.fixture
def caller(issuer: OneIssuer, settings: Settings) -> Caller:
    return Caller(issuer, settings, "adherent", HERE)


@pytest.fixture(scope="module")
async def firm(adherent_db: Database) -> UUID:
    """Two establishments, one statement half paid."""
    member = a_member(
        number="654321",
        name="CHARPENTES NOËL ET ASSOCIÉS",
        siren=None,
        sites=[a_site(None), a_site(None, name="Dépôt", is_head_office=False)],
    )
    async with adherent_db.transaction(HERE) as tx:
        await hear_of_member(tx, member)
        await keep_statements(
            tx,
            [
                StatementToKeep(
                    adherent_number="654321",
                    period="2026-08",
                    kind="leave",
                    amount_cents=900_00,
                    due_on=date(2026, 10, 15),
                )
            ],
        )
        await keep_payments(
            tx,
            [
                PaymentToKeep(
                    reference="VIR-1",
                    adherent_number="654321",
                    period="2026-08",
                    kind="leave",
                    amount_cents=400_00,
                    received_on=date(2026, 10, 10),
                )
            ],
        )
    return member.adherent_id


def of(firm: UUID) -> str:
    return f"/adherents/{public_id('adh', firm)}"


async def test_the_firm_reads_its_file(adherent_api: httpx.AsyncClient, caller: Caller, firm: UUID) -> None:
    told = await caller.ask(adherent_api, "GET", of(firm), caller.own(firm, PERSON, "attestation.read"))

    assert told.status_code == 200
    assert told.json()["legal_name"] == "CHARPENTES NOËL ET ASSOCIÉS"
    assert [site["name"] for site in told.json()["establishments"]] == ["Siège", "Dépôt"]


async def test_a_cabinet_sees_only_the_establishments_of_its_mandate(
    adherent_api: httpx.AsyncClient, caller: Caller, firm: UUID
) -> None:
    whole = await caller.ask(adherent_api, "GET", of(firm), caller.own(firm, PERSON, "declaration.read"))
    depot = whole.json()["establishments"][1]["id"]
    token = caller.delegated(firm, PERSON, CABINET, MANDATE, "declaration.read", establishments=[depot])

    told = await caller.ask(adherent_api, "GET", of(firm), token)

    assert [site["id"] for site in told.json()["establishments"]] == [depot]


async def test_the_standing_names_what_is_due_and_freezes_its_inputs(
    adherent_api: httpx.AsyncClient, caller: Caller, firm: UUID
) -> None:
    path = f"{of(firm)}/standing"
    told = await caller.ask(adherent_api, "GET", path, caller.service("documents", "standing.read"))

    assert told.status_code == 200
    body = told.json()
    assert body["is_up_to_date"] is False
    assert [(reason["code"], reason["amount_cents"]) for reason in body["reasons"]] == [
        ("statement_unpaid", 500_00)
    ]
    assert body["inputs"]["statements"][0]["paid_cents"] == 400_00
    assert body["member"]["legal_name"] == "CHARPENTES NOËL ET ASSOCIÉS"


async def test_who_may_only_read_attestations_reads_no_statement_in_the_standing(
    adherent_api: httpx.AsyncClient, caller: Caller, firm: UUID
) -> None:
    cabinet = caller.delegated(firm, PERSON, CABINET, MANDATE, "attestation.read")
    for token in (cabinet, caller.own(firm, PERSON, "attestation.read")):
        told = await caller.ask(adherent_api, "GET", f"{of(firm)}/standing", token)
        assert told.status_code == 200
        assert "inputs" not in told.json()
        assert [reason["amount_cents"] for reason in told.json()["reasons"]] == [500_00]


async def test_statements_show_what_was_paid(
    adherent_api: httpx.AsyncClient, caller: Caller, firm: UUID
) -> None:
    token = caller.own(firm, PERSON, "payment.read")
    told = await caller.ask(adherent_api, "GET", f"{of(firm)}/statements", token)

    (statement,) = told.json()["statements"]
    assert (statement["period"], statement["amount_cents"], statement["paid_cents"]) == (
        "2026-08",
        900_00,
        400_00,
    )


async def test_the_firm_sees_who_read_what(
    adherent_api: httpx.AsyncClient, adherent_db: Database, caller: Caller, firm: UUID
) -> None:
    reader = new_id()
    token = caller.delegated(firm, reader, CABINET, MANDATE, "payment.read")
    await caller.ask(adherent_api, "GET", f"{of(firm)}/statements", token)

    told = await caller.ask(adherent_api, "GET", f"{of(firm)}/acts", caller.own(firm, PERSON, "payment.read"))

    newest = told.json()["acts"][0]
    assert newest["action"] == "statements.read"
    assert newest["person"] == public_id("per", reader)
    assert newest["cabinet"] == public_id("cab", CABINET)
    assert (newest["mandate"], newest["mandate_version"]) == (public_id("mdt", MANDATE), 7)
    async with adherent_db.transaction(HERE) as tx:
        facts = await tx.fetch("SELECT subject, body FROM outbox WHERE subject LIKE '%.act.noted.v1'")
    noted = [decode(row["subject"], row["body"])[1] for row in facts]
    assert [fact.action for fact in noted if isinstance(fact, ActNoted) and fact.person_id == reader] == [
        "statements.read"
    ], "told once, by the cabinet's read; the firm's own is nobody's business"


async def test_a_cabinet_does_not_read_who_did_what(
    adherent_api: httpx.AsyncClient, caller: Caller, firm: UUID
) -> None:
    token = caller.delegated(firm, PERSON, CABINET, MANDATE, "payment.read")
    assert (await caller.ask(adherent_api, "GET", f"{of(firm)}/acts", token)).status_code == 403


@pytest.mark.parametrize("path", ["", "/standing", "/statements", "/acts"])
async def test_another_firm_answers_like_an_unknown_one(
    adherent_api: httpx.AsyncClient, caller: Caller, firm: UUID, path: str
) -> None:
    token = caller.own(new_id(), PERSON, "declaration.read", "attestation.read", "payment.read")

    foreign = await caller.ask(adherent_api, "GET", of(firm) + path, token)
    unknown = await caller.ask(adherent_api, "GET", of(new_id()) + path, token)
    malformed = await caller.ask(adherent_api, "GET", "/adherents/adh_x" + path, token)

    assert (foreign.status_code, unknown.status_code, malformed.status_code) == (404, 404, 404)
    assert foreign.content == unknown.content


async def test_without_the_right_the_answer_is_no(
    adherent_api: httpx.AsyncClient, caller: Caller, firm: UUID
) -> None:
    token = caller.own(firm, PERSON, "leave.read")
    assert (await caller.ask(adherent_api, "GET", of(firm), token)).status_code == 403


async def test_another_caisse_has_never_heard_of_the_firm(
    adherent_api: httpx.AsyncClient, issuer: OneIssuer, settings: Settings, firm: UUID
) -> None:
    stranger = Caller(issuer, settings, "adherent", "grand-ouest")
    token = stranger.own(firm, PERSON, "attestation.read")

    assert (await stranger.ask(adherent_api, "GET", of(firm), token)).status_code == 404


async def test_a_service_of_another_right_sees_nothing(
    adherent_api: httpx.AsyncClient, caller: Caller, firm: UUID
) -> None:
    token = caller.service("documents", "attestation.read")
    assert (await caller.ask(adherent_api, "GET", f"{of(firm)}/standing", token)).status_code == 404


@pytest.fixture(scope="module")
async def sited(adherent_db: Database) -> tuple[UUID, str]:
    """A firm with a statement for its head office, one for its depot and one for all; the depot's public id."""
    head, depot = "73282932000074", "73282932000082"
    member = a_member(
        number="777001",
        siren=None,
        sites=[a_site(head), a_site(depot, name="Dépôt", is_head_office=False)],
    )
    async with adherent_db.transaction(HERE) as tx:
        await hear_of_member(tx, member)
        await keep_statements(
            tx,
            [
                StatementToKeep(
                    adherent_number="777001", period=period, kind="leave", amount_cents=100_00,
                    due_on=date(2026, 10, 15), establishment_siret=siret,
                )
                for period, siret in (("2026-06", head), ("2026-07", depot), ("2026-08", None))
            ],
        )  # fmt: skip
    return member.adherent_id, public_id("est", member.establishments[1].establishment_id)


async def test_a_mandate_for_the_depot_reads_the_depot_s_statements_alone(
    adherent_api: httpx.AsyncClient, caller: Caller, sited: tuple[UUID, str]
) -> None:
    firm, depot = sited
    path = f"{of(firm)}/statements"
    limited = caller.delegated(firm, PERSON, CABINET, MANDATE, "payment.read", establishments=[depot])
    whole = caller.delegated(firm, PERSON, CABINET, MANDATE, "payment.read")

    told = (await caller.ask(adherent_api, "GET", path, limited)).json()["statements"]
    assert [one["period"] for one in told] == ["2026-07"]
    told = (await caller.ask(adherent_api, "GET", path, whole)).json()["statements"]
    assert {one["period"] for one in told} == {"2026-06", "2026-07", "2026-08"}


async def test_a_mandate_for_the_depot_does_not_say_whether_the_firm_is_up_to_date(
    adherent_api: httpx.AsyncClient, caller: Caller, sited: tuple[UUID, str]
) -> None:
    firm, depot = sited
    token = caller.delegated(firm, PERSON, CABINET, MANDATE, "attestation.read", establishments=[depot])

    told = await caller.ask(adherent_api, "GET", f"{of(firm)}/standing", token)
    assert (told.status_code, told.json()["type"].rsplit(":", 1)[-1]) == (403, "beyond-mandate")

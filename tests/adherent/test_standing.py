"""A firm is up to date when nothing due is missing, anywhere in its SIREN, at one instant."""

from datetime import UTC, date, datetime
from uuid import UUID

import pytest

from libs.common.database.pool import Database
from libs.common.refusals import NotFound
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.identifiers import new_id
from services.adherent.contributions.store import (
    PaymentToKeep,
    StatementToKeep,
    keep_payments,
    keep_statements,
)
from services.adherent.declarations.store import DeclarationToKeep, keep_declarations
from services.adherent.member_file.hear_of_member import hear_of_member
from services.adherent.standing.judge import ContributionsUnknown, Standing, judge_standing, period_fr
from tests.adherent.members import a_member, a_siren, a_siret

HERE = CaisseSlug("mediterranee")
ELSEWHERE = CaisseSlug("grand-ouest")
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
YESTERDAY, TODAY, LATER = date(2026, 11, 22), date(2026, 11, 23), date(2026, 12, 15)

_seed = iter(range(10_000_000, 99_999_999, 7))


async def a_firm(db: Database, *, number: str, siren: str | None = "", caisse: CaisseSlug = HERE) -> UUID:
    """A member with a SIREN of its own and one settled past, so that the accounts are known."""
    member = a_member(number=number, siren=a_siren(next(_seed)) if siren == "" else siren)
    async with db.transaction(caisse) as tx:
        await hear_of_member(tx, member)
        await keep_statements(tx, [a_statement(number, "2020-01", due_on=date(2020, 3, 15))])
        await keep_payments(tx, [a_payment(number, "2020-01")])
    return member.adherent_id


def a_statement(
    number: str, period: str, *, due_on: date, amount_cents: int = 100_00, collection: str = "called"
) -> StatementToKeep:
    return StatementToKeep(
        adherent_number=number,
        period=period,
        kind="contributions",
        amount_cents=amount_cents,
        due_on=due_on,
        collection=collection,
    )


def a_payment(
    number: str,
    period: str,
    *,
    amount_cents: int = 100_00,
    received_on: date = date(2020, 3, 1),
    state: str = "settled",
) -> PaymentToKeep:
    return PaymentToKeep(
        reference=f"VIR-{number}-{period}-{amount_cents}-{received_on}",
        adherent_number=number,
        period=period,
        kind="contributions",
        amount_cents=amount_cents,
        received_on=received_on,
        state=state,
    )


async def judged(
    db: Database, member_id: UUID, *, now: datetime = NOON, caisse: CaisseSlug = HERE
) -> Standing:
    async with db.transaction(caisse) as tx:
        return await judge_standing(tx, member_id, now=now)


async def owes(db: Database, *statements: StatementToKeep) -> None:
    async with db.transaction(HERE) as tx:
        await keep_statements(tx, list(statements))


async def pays(db: Database, *payments: PaymentToKeep) -> None:
    async with db.transaction(HERE) as tx:
        await keep_payments(tx, list(payments))


async def test_nothing_due_is_up_to_date(adherent_db: Database) -> None:
    standing = await judged(adherent_db, await a_firm(adherent_db, number="A1"))

    assert standing.is_up_to_date
    assert standing.reasons == []
    assert standing.as_of == TODAY


async def test_an_unpaid_statement_says_period_amount_and_remedy(adherent_db: Database) -> None:
    firm = await a_firm(adherent_db, number="A2")
    await owes(adherent_db, a_statement("A2", "2026-08", due_on=date(2026, 10, 15), amount_cents=1_234_56))
    await pays(adherent_db, a_payment("A2", "2026-08", amount_cents=234_56, received_on=date(2026, 10, 10)))

    standing = await judged(adherent_db, firm)

    assert not standing.is_up_to_date
    (reason,) = standing.reasons
    assert (reason.code, reason.period, reason.amount_cents) == ("statement_unpaid", "2026-08", 1_000_00)
    assert reason.remedy == (
        "Réglez 1\u202f000,00\u00a0€ au titre de l'appel de cotisations d'août 2026 : "
        "le paiement était dû le 15\u00a0octobre 2026."
    )


async def test_a_missing_declaration_names_its_establishment(adherent_db: Database) -> None:
    siren = a_siren(next(_seed))
    firm = await a_firm(adherent_db, number="A3", siren=siren)
    async with adherent_db.transaction(HERE) as tx:
        await keep_declarations(
            tx,
            [
                DeclarationToKeep(
                    adherent_number="A3",
                    period="2026-09",
                    kind="monthly_filing",
                    due_on=date(2026, 10, 15),
                    establishment_siret=a_siret(siren, 2),
                )
            ],
        )

    (reason,) = (await judged(adherent_db, firm)).reasons

    assert (reason.code, reason.establishment) == ("declaration_missing", a_siret(siren, 2))
    assert "de septembre 2026" in reason.remedy


@pytest.mark.parametrize(("due_on", "up_to_date"), [(YESTERDAY, False), (TODAY, True), (LATER, True)])
async def test_a_due_date_is_late_from_the_day_after(
    adherent_db: Database, due_on: date, up_to_date: bool
) -> None:
    number = f"B{due_on}"
    firm = await a_firm(adherent_db, number=number)
    await owes(adherent_db, a_statement(number, "2026-09", due_on=due_on))

    assert (await judged(adherent_db, firm)).is_up_to_date is up_to_date


async def test_the_day_is_that_of_paris(adherent_db: Database) -> None:
    firm = await a_firm(adherent_db, number="B9")
    await owes(adherent_db, a_statement("B9", "2026-09", due_on=TODAY))

    # 23:30 UTC is already the 24th in Paris.
    assert not (await judged(adherent_db, firm, now=datetime(2026, 11, 23, 23, 30, tzinfo=UTC))).is_up_to_date


async def test_a_rejected_payment_pays_nothing(adherent_db: Database) -> None:
    firm = await a_firm(adherent_db, number="C1")
    await owes(adherent_db, a_statement("C1", "2026-08", due_on=YESTERDAY))
    await pays(adherent_db, a_payment("C1", "2026-08", state="rejected", received_on=YESTERDAY))

    assert not (await judged(adherent_db, firm)).is_up_to_date


@pytest.mark.parametrize(
    ("collection", "code"),
    [("payment_plan", "statement_in_payment_plan"), ("litigation", "statement_in_litigation")],
)
async def test_a_plan_and_a_dispute_are_told_apart(adherent_db: Database, collection: str, code: str) -> None:
    number = f"D{collection}"
    firm = await a_firm(adherent_db, number=number)
    await owes(adherent_db, a_statement(number, "2026-08", due_on=YESTERDAY, collection=collection))

    assert [reason.code for reason in (await judged(adherent_db, firm)).reasons] == [code]


async def test_a_credit_is_no_debt(adherent_db: Database) -> None:
    firm = await a_firm(adherent_db, number="D3")
    await owes(adherent_db, a_statement("D3", "2026-08", due_on=YESTERDAY, amount_cents=-50_00))

    assert (await judged(adherent_db, firm)).is_up_to_date


async def test_the_whole_siren_is_judged_together(adherent_db: Database) -> None:
    siren = a_siren(next(_seed))
    building = await a_firm(adherent_db, number="E-BAT", siren=siren)
    await a_firm(adherent_db, number="E-TP", siren=siren)
    await owes(adherent_db, a_statement("E-TP", "2026-08", due_on=YESTERDAY))

    standing = await judged(adherent_db, building)

    assert [reason.adherent_number for reason in standing.reasons] == ["E-TP"]
    assert [member.adherent_number for member in standing.inputs.members] == ["E-BAT", "E-TP"]


async def test_two_foreign_firms_without_siren_are_two_firms(adherent_db: Database) -> None:
    quiet = await a_firm(adherent_db, number="F1", siren=None)
    await a_firm(adherent_db, number="F2", siren=None)
    await owes(adherent_db, a_statement("F2", "2026-08", due_on=YESTERDAY))

    assert (await judged(adherent_db, quiet)).is_up_to_date


async def test_the_same_siren_in_another_caisse_is_not_seen(adherent_db: Database) -> None:
    siren = a_siren(next(_seed))
    here = await a_firm(adherent_db, number="G1", siren=siren)
    await a_firm(adherent_db, number="G1", siren=siren, caisse=ELSEWHERE)
    async with adherent_db.transaction(ELSEWHERE) as tx:
        await keep_statements(tx, [a_statement("G1", "2026-08", due_on=YESTERDAY)])

    assert (await judged(adherent_db, here)).is_up_to_date
    with pytest.raises(NotFound):
        await judged(adherent_db, here, caisse=ELSEWHERE)


async def test_accounts_never_loaded_are_an_outage_not_an_answer(adherent_db: Database) -> None:
    empty = CaisseSlug("nord-ouest")
    member = a_member(number="H1")
    async with adherent_db.transaction(empty) as tx:
        await hear_of_member(tx, member)

    with pytest.raises(ContributionsUnknown):
        await judged(adherent_db, member.adherent_id, caisse=empty)


async def test_an_unknown_firm_is_not_found(adherent_db: Database) -> None:
    with pytest.raises(NotFound):
        await judged(adherent_db, new_id())


@pytest.mark.parametrize(
    ("period", "said"),
    [
        ("2026-11", "novembre 2026"),
        ("2020-T1", "le 1er trimestre 2020"),
        ("2020-T4", "le 4e trimestre 2020"),
        ("2020", "l'année 2020"),
    ],
)
def test_periods_are_said_in_french(period: str, said: str) -> None:
    assert period_fr(period) == said

"""What the former system called, cashed and received enters once, whatever the number of imports."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from libs.common.database.pool import Database
from libs.common.database.transaction import DatabaseUnavailable
from libs.common.legacy_export.profile import NotAnExport
from libs.common.legacy_export.tally import FileReport
from libs.common.legacy_export.verdict import Verdict
from libs.common.values.caisse_slug import parse_caisse_slug
from services.adherent.contributions.store import statements_of
from services.adherent.legacy_import.import_balances import import_balances
from services.adherent.legacy_import.mapping import DECLARATIONS, PAYMENTS, REQUIRED, STATEMENTS
from services.adherent.member_file.hear_of_member import hear_of_member
from services.adherent.standing.judge import ContributionsUnknown, judge_standing
from services.demonstration.export_traps import Planted
from services.demonstration.former_export import FormerExport, write_former_export
from tests.adherent.members import a_member, a_siren, a_siret
from tests.identity.killed import Dying


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> FormerExport:
    return write_former_export(tmp_path_factory.mktemp("export"), size=2_000)


async def imported(
    db: Database, slug: str, folder: Path, *, is_dry_run: bool = False
) -> tuple[dict[str, FileReport], list[Verdict]]:
    told: list[Verdict] = []
    reports = await import_balances(
        db, parse_caisse_slug(slug), folder, is_dry_run=is_dry_run, tell=told.append
    )
    return reports, told


async def test_every_planted_fault_is_found_and_nothing_else(adherent_db: Database, export: FormerExport):
    reports, told = await imported(adherent_db, "exacte", export.folder)
    found = {Planted(v.file, v.line, v.column, v.outcome.value, v.code) for v in told}
    assert found == {remark for remark in export.planted if remark.file in REQUIRED}
    assert all(report.counts.is_reconciled for report in reports.values())
    async with adherent_db.transaction(parse_caisse_slug("exacte")) as tx:
        for table, file in (("statement", STATEMENTS), ("payment", PAYMENTS)):
            assert await tx.fetchval(f"SELECT count(*) FROM {table}") == reports[file].counts.accepted


async def test_imported_twice_nothing_changes(adherent_db: Database, export: FormerExport):
    first, _ = await imported(adherent_db, "deux-fois", export.folder)
    second, _ = await imported(adherent_db, "deux-fois", export.folder)
    for file, report in second.items():
        assert (report.counts.inserted, report.counts.updated) == (0, 0)
        assert report.counts.unchanged == first[file].counts.inserted


async def test_who_owes_something_is_who_was_late(adherent_db: Database, export: FormerExport):
    await imported(adherent_db, "dettes", export.folder)
    async with adherent_db.transaction(parse_caisse_slug("dettes")) as tx:
        rows = await tx.fetch(
            """
            SELECT DISTINCT statement.adherent_number
              FROM statement
              LEFT JOIN payment USING (caisse, adherent_number, period, kind)
             WHERE payment.reference IS NULL
            """
        )
        forgot = await tx.fetch("SELECT DISTINCT adherent_number FROM declaration WHERE filed_on IS NULL")
    owing = {row[0] for row in rows} | {row[0] for row in forgot}
    behind = {*export.late, *export.in_plan, *export.disputed}
    assert behind <= owing
    assert not owing & set(export.up_to_date)


async def test_a_payment_that_settles_later_replaces_the_rejected_one(adherent_db: Database, tmp_path: Path):
    head = "REFERENCE;NUM_ADHERENT;PERIODE;NATURE;MONTANT;DATE_VALEUR;ETAT\r\n"
    (tmp_path / PAYMENTS).write_text(f"{head}P1;1000001;2020-T3;COTIS;1 234,56;14/11/2020;I\r\n")
    await imported(adherent_db, "rejet", tmp_path)
    (tmp_path / PAYMENTS).write_text(f"{head}P1;1000001;2020-T3;COTIS;1 234,56;20/11/2020;R\r\n")
    reports, _ = await imported(adherent_db, "rejet", tmp_path)
    assert reports[PAYMENTS].counts.updated == 1
    async with adherent_db.transaction(parse_caisse_slug("rejet")) as tx:
        row = await tx.fetchrow("SELECT amount_cents, state FROM payment")
        assert row is not None
        assert tuple(row) == (123_456, "settled")


async def test_a_dry_run_leaves_nothing(adherent_db: Database, export: FormerExport):
    reports, _ = await imported(adherent_db, "a-blanc", export.folder, is_dry_run=True)
    assert reports[STATEMENTS].counts.inserted == reports[STATEMENTS].counts.accepted
    async with adherent_db.transaction(parse_caisse_slug("a-blanc")) as tx:
        assert await tx.fetchval("SELECT count(*) FROM statement") == 0


THE_ACCOUNTS = {
    STATEMENTS: "NUM_ADHERENT;PERIODE;NATURE;MONTANT;DATE_EXIGIBILITE\r\n7000001;2020-T3;COTIS;100,00;15/11/2020\r\n",
    PAYMENTS: "REFERENCE;NUM_ADHERENT;PERIODE;MONTANT;DATE_VALEUR\r\nP7;7000001;2020-T3;100,00;14/11/2020\r\n",
    DECLARATIONS: "NUM_ADHERENT;PERIODE;NATURE;DATE_LIMITE;DATE_DEPOT\r\n7000001;2020-T3;TRIM;31/10/2020;\r\n",
}
"""One firm, which paid and never declared."""


@pytest.mark.parametrize("nth", range(1, 6))
async def test_an_import_killed_on_its_way_lets_no_late_firm_pass(
    adherent_db: Database, tmp_path: Path, nth: int
):
    slug = parse_caisse_slug(f"coupure-{nth}")
    for file, text in THE_ACCOUNTS.items():
        (tmp_path / file).write_text(text)
    member = a_member(number="7000001", siren=a_siren(70_000_001))
    async with adherent_db.transaction(slug) as tx:
        await hear_of_member(tx, member)

    async def is_up_to_date() -> bool:
        async with adherent_db.transaction(slug) as tx:
            return (await judge_standing(tx, member.adherent_id, now=datetime.now(UTC))).is_up_to_date

    with pytest.raises(DatabaseUnavailable):
        await import_balances(Dying(adherent_db, nth), slug, tmp_path)
    with pytest.raises(ContributionsUnknown):
        await is_up_to_date()

    await import_balances(adherent_db, slug, tmp_path)
    assert not await is_up_to_date()


async def test_a_file_that_is_none_is_refused_before_anything_is_written(
    adherent_db: Database, tmp_path: Path
):
    slug = parse_caisse_slug("illisible")
    (tmp_path / STATEMENTS).write_text(THE_ACCOUNTS[STATEMENTS])
    (tmp_path / DECLARATIONS).write_text("rien\r\n")
    with pytest.raises(NotAnExport):
        await import_balances(adherent_db, slug, tmp_path)
    async with adherent_db.transaction(slug) as tx:
        assert await tx.fetchval("SELECT count(*) FROM statement") == 0
        assert await tx.fetchval("SELECT count(*) FROM accounts_loading") == 0


async def test_the_accounts_of_a_firm_that_took_anothers_number_are_refused(
    adherent_db: Database, tmp_path: Path
):
    for file, text in THE_ACCOUNTS.items():
        (tmp_path / file).write_text(text)
    told: list[Verdict] = []
    reports = await import_balances(
        adherent_db,
        parse_caisse_slug("autre-siren"),
        tmp_path,
        numbers_of_other_firms=frozenset({"7000001"}),
        tell=told.append,
    )
    assert {(verdict.file, verdict.code) for verdict in told} == {
        (file, "unknown_adherent") for file in THE_ACCOUNTS
    }
    assert all(report.counts.is_reconciled for report in reports.values())
    async with adherent_db.transaction(parse_caisse_slug("autre-siren")) as tx:
        assert await tx.fetchval("SELECT count(*) FROM statement") == 0


STATEMENTS_OF_TWO = (
    "NUM_ADHERENT;PERIODE;NATURE;SIRET;MONTANT;DATE_EXIGIBILITE;RECOUVREMENT\r\n"
    "{number};2020-T3;COTIS;{first};100,00;15/11/2020;\r\n"
    "{number};2020-T3;COTIS;{second};250,00;15/11/2020;\r\n"
)
PAYMENT_HEAD = "REFERENCE;NUM_ADHERENT;PERIODE;NATURE;MONTANT;DATE_VALEUR;ETAT\r\n"


async def test_the_debt_of_a_second_establishment_counts_and_one_payment_settles_one_debt(
    adherent_db: Database, tmp_path: Path
):
    slug = parse_caisse_slug("deux-etablissements")
    number, siren = "7100001", a_siren(71_000_001)
    first, second = sorted((a_siret(siren, 1), a_siret(siren, 2)))
    member = a_member(number=number, siren=siren)
    async with adherent_db.transaction(slug) as tx:
        await hear_of_member(tx, member)
    (tmp_path / STATEMENTS).write_text(STATEMENTS_OF_TWO.format(number=number, first=first, second=second))
    paid = f"{PAYMENT_HEAD}P1;{number};2020-T3;COTIS;100,00;14/11/2020;R\r\n"
    (tmp_path / PAYMENTS).write_text(paid)

    async def owed() -> list[tuple[str | None, int | None]]:
        async with adherent_db.transaction(slug) as tx:
            standing = await judge_standing(tx, member.adherent_id, now=datetime.now(UTC))
            listed = await statements_of(tx, number, member.adherent_id, None)
        left = {(one.establishment_siret, one.amount_cents - one.paid_cents) for one in listed}
        judged = [(reason.establishment, reason.amount_cents) for reason in standing.reasons]
        assert {one for one in left if one[1] is not None and one[1] > 0} == set(judged)
        return judged

    for wanted in ((2, 0, 0), (0, 0, 2)):
        reports, told = await imported(adherent_db, slug, tmp_path)
        counts = reports[STATEMENTS].counts
        assert (counts.inserted, counts.updated, counts.unchanged) == wanted
        assert told == []
        assert await owed() == [(second, 250_00)]

    (tmp_path / PAYMENTS).write_text(f"{paid}P2;{number};2020-T3;COTIS;249,99;20/11/2020;R\r\n")
    await imported(adherent_db, slug, tmp_path)
    assert await owed() == [(second, 1)]
    (tmp_path / PAYMENTS).write_text(f"{paid}P2;{number};2020-T3;COTIS;260,00;20/11/2020;R\r\n")
    await imported(adherent_db, slug, tmp_path)
    assert await owed() == []
    async with adherent_db.transaction(slug) as tx:
        listed = await statements_of(tx, number, member.adherent_id, None)
    assert sum(one.paid_cents for one in listed) == 360_00


async def test_what_is_owed_first_is_paid_first_and_a_credit_settles_nothing(
    adherent_db: Database, tmp_path: Path
):
    slug = parse_caisse_slug("le-plus-ancien")
    number, siren = "7200001", a_siren(72_000_001)
    member = a_member(number=number, siren=siren)
    async with adherent_db.transaction(slug) as tx:
        await hear_of_member(tx, member)
    (tmp_path / STATEMENTS).write_text(
        "NUM_ADHERENT;PERIODE;NATURE;SIRET;MONTANT;DATE_EXIGIBILITE\r\n"
        f"{number};2020-T3;COTIS;{a_siret(siren, 1)};100,00;15/12/2020\r\n"
        f"{number};2020-T3;COTIS;{a_siret(siren, 2)};100,00;15/11/2020\r\n"
        f"{number};2020-T3;COTIS;;-500,00;15/10/2020\r\n"
        f"{number};2020-T3;COTIS;{a_siret(siren, 1)};100,00;15/12/2020\r\n"
    )
    (tmp_path / PAYMENTS).write_text(f"{PAYMENT_HEAD}P1;{number};2020-T3;COTIS;100,00;14/11/2020;R\r\n")
    _, told = await imported(adherent_db, slug, tmp_path)
    assert [(verdict.line, verdict.code) for verdict in told] == [(5, "already_seen")]

    async with adherent_db.transaction(slug) as tx:
        standing = await judge_standing(tx, member.adherent_id, now=datetime.now(UTC))
    assert [(reason.establishment, reason.amount_cents) for reason in standing.reasons] == [
        (a_siret(siren, 1), 100_00)
    ]

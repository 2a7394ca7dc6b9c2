"""What the former system called, cashed and received enters once, whatever the number of imports."""

from pathlib import Path

import pytest

from libs.common.database.pool import Database
from libs.common.legacy_export.tally import FileReport
from libs.common.legacy_export.verdict import Verdict
from libs.common.values.caisse_slug import parse_caisse_slug
from services.adherent.legacy_import.import_balances import import_balances
from services.adherent.legacy_import.mapping import PAYMENTS, REQUIRED, STATEMENTS
from services.demonstration.export_traps import Planted
from services.demonstration.former_export import FormerExport, write_former_export


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

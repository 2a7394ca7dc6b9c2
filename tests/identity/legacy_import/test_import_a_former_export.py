"""The export of a former system enters, row by row, and what was planted in it is found."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from libs.common.database.pool import Database
from libs.common.events.envelope import decode
from libs.common.events.identity import AdherentImported
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.legacy_export.profile import NotAnExport
from libs.common.legacy_export.verdict import Verdict
from libs.common.values.caisse_slug import CaisseSlug, parse_caisse_slug
from services.caisse_opening.commands import described
from services.demonstration.export_traps import Planted
from services.demonstration.former_export import FormerExport, write_former_export
from services.identity.caisses.add import add_caisse
from services.identity.legacy_import import mapping
from services.identity.legacy_import.import_export import ImportReport, NoSuchCaisse, import_export

NOW = datetime(2021, 1, 6, 9, tzinfo=UTC)
IDENTITY_FILES = tuple(mapping.REQUIRED)

ANNOUNCED = "SELECT count(*) FROM outbox WHERE subject LIKE '%.adherent.imported.v1'"


async def a_caisse(db: Database, keys: KeyEncryption, slug: str) -> CaisseSlug:
    caisse = described(slug)
    async with db.transaction(caisse.slug) as tx:
        await add_caisse(tx, keys, caisse)
        await tx.execute("DELETE FROM outbox")
    return caisse.slug


async def imported(
    db: Database, caisse: CaisseSlug, folder: Path, *, is_dry_run: bool = False
) -> tuple[ImportReport, list[Verdict]]:
    told: list[Verdict] = []
    report = await import_export(db, caisse, folder, now=NOW, is_dry_run=is_dry_run, tell=told.append)
    return report, told


async def rows_of(db: Database, caisse: CaisseSlug, table: str) -> list[dict[str, object]]:
    async with db.transaction(caisse) as tx:
        return [dict(row) for row in await tx.fetch(f"SELECT * FROM {table} ORDER BY id")]


def planted(export: FormerExport) -> set[Planted]:
    return {remark for remark in export.planted if remark.file in IDENTITY_FILES}


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> FormerExport:
    return write_former_export(tmp_path_factory.mktemp("export"), size=2_000)


async def test_every_planted_fault_is_found_and_nothing_else(
    identity_db: Database, keys: KeyEncryption, export: FormerExport
):
    caisse = await a_caisse(identity_db, keys, "exacte")
    report, told = await imported(identity_db, caisse, export.folder)

    found = {Planted(v.file, v.line, v.column, v.outcome.value, v.code) for v in told}
    assert found == planted(export)
    assert report.is_reconciled
    for file in IDENTITY_FILES:
        refused = {
            remark.line for remark in planted(export) if (remark.file, remark.outcome) == (file, "refused")
        }
        assert report.files[file].counts.read == export.rows[file]
        assert report.files[file].counts.refused == len(refused)
        assert report.files[file].encoding == "iso-8859-15"
    adherents = await rows_of(identity_db, caisse, "adherent")
    assert len(adherents) == report.files[mapping.ADHERENTS].counts.accepted
    assert any("œ" in str(adherent["legal_name"]) for adherent in adherents)


async def test_imported_twice_nothing_doubles_and_nothing_is_announced_again(
    identity_db: Database, keys: KeyEncryption, export: FormerExport
):
    caisse = await a_caisse(identity_db, keys, "deux-fois")
    first, _ = await imported(identity_db, caisse, export.folder)
    tables = ("adherent", "establishment", "former_authorisation", "former_contact")
    before = {table: await rows_of(identity_db, caisse, table) for table in tables}
    async with identity_db.transaction(caisse) as tx:
        announced = await tx.fetchval(ANNOUNCED)
    second, told = await imported(identity_db, caisse, export.folder)

    assert {table: await rows_of(identity_db, caisse, table) for table in tables} == before
    for file in IDENTITY_FILES:
        counts = second.files[file].counts
        assert (counts.inserted, counts.updated) == (0, 0)
        assert counts.unchanged == first.files[file].counts.inserted
    async with identity_db.transaction(caisse) as tx:
        assert await tx.fetchval(ANNOUNCED) == announced == len(before["adherent"])
    assert told


async def test_each_new_adherent_is_announced_with_its_whole_file(
    identity_db: Database, keys: KeyEncryption, export: FormerExport
):
    caisse = await a_caisse(identity_db, keys, "annonces")
    await imported(identity_db, caisse, export.folder)
    async with identity_db.transaction(caisse) as tx:
        facts = [
            decode(row["subject"], row["body"])[1]
            for row in await tx.fetch(
                "SELECT subject, body FROM outbox WHERE subject LIKE '%.adherent.imported.v1'"
            )
        ]
        establishments = await tx.fetchval("SELECT count(*) FROM establishment")
    announced = [fact for fact in facts if isinstance(fact, AdherentImported)]
    assert sum(len(fact.establishments) for fact in announced) == establishments
    assert all(sum(row.is_head_office for row in fact.establishments) == 1 for fact in announced)
    moved = next(fact for fact in announced if fact.adherent_number == export.moved[0])
    assert [row.closed_on is None for row in moved.establishments][:2] == [True, False]


async def test_a_changed_row_updates_its_adherent_alone(
    identity_db: Database, keys: KeyEncryption, tmp_path: Path
):
    caisse = await a_caisse(identity_db, keys, "changee")
    write_former_export(tmp_path, size=20)
    await imported(identity_db, caisse, tmp_path)
    async with identity_db.transaction(caisse) as tx:
        await tx.execute("DELETE FROM outbox")
    file = tmp_path / mapping.ADHERENTS
    file.write_bytes(file.read_bytes().replace(b"SAS Plomberie Jounad\xe8s", b"SAS Plomberie R\xe9nov\xe9e"))
    report, _ = await imported(identity_db, caisse, tmp_path)

    counts = report.files[mapping.ADHERENTS].counts
    assert (counts.inserted, counts.updated) == (0, 1)
    async with identity_db.transaction(caisse) as tx:
        (row,) = await tx.fetch("SELECT legal_name, version FROM adherent WHERE version > 1")
        assert tuple(row) == ("SAS Plomberie Rénovée", 2)
        assert await tx.fetchval(ANNOUNCED) == 1


async def test_killed_between_two_batches_and_run_again_it_ends_the_same(
    identity_db: Database, keys: KeyEncryption, export: FormerExport
):
    caisse = await a_caisse(identity_db, keys, "interrompue")

    class Killed(BaseException):
        pass

    def die_after_the_first_batch(what: str, done: int, total: int) -> None:
        if what == "write":
            raise Killed

    with pytest.raises(Killed):
        await import_export(identity_db, caisse, export.folder, now=NOW, progress=die_after_the_first_batch)
    assert len(await rows_of(identity_db, caisse, "adherent")) == 1_000
    report, _ = await imported(identity_db, caisse, export.folder)

    counts = report.files[mapping.ADHERENTS].counts
    assert counts.unchanged == 1_000
    assert counts.inserted == counts.accepted - 1_000
    runs = await rows_of(identity_db, caisse, "import_run")
    assert [run["finished_at"] is None for run in runs] == [True, False]
    async with identity_db.transaction(caisse) as tx:
        assert await tx.fetchval(ANNOUNCED) == counts.accepted


async def test_a_dry_run_counts_and_leaves_nothing(
    identity_db: Database, keys: KeyEncryption, export: FormerExport
):
    caisse = await a_caisse(identity_db, keys, "a-blanc")
    report, told = await imported(identity_db, caisse, export.folder, is_dry_run=True)
    assert report.files[mapping.ADHERENTS].counts.inserted == report.files[mapping.ADHERENTS].counts.accepted
    assert told
    for table in ("adherent", "establishment", "import_run", "import_verdict", "former_authorisation"):
        assert await rows_of(identity_db, caisse, table) == []


async def test_windows_letters_are_told_from_latin_9(
    identity_db: Database, keys: KeyEncryption, tmp_path: Path
):
    caisse = await a_caisse(identity_db, keys, "windows")
    latin, windows = tmp_path / "latin", tmp_path / "windows"
    write_former_export(latin, size=200)
    write_former_export(windows, size=200, encoding="cp1252")
    await imported(identity_db, caisse, latin)
    report, _ = await imported(identity_db, caisse, windows)

    assert report.files[mapping.ADHERENTS].encoding == "cp1252"
    assert report.files[mapping.ADHERENTS].counts.updated == 0


async def test_the_verdicts_stay_with_their_run_without_the_values(
    identity_db: Database, keys: KeyEncryption, export: FormerExport
):
    caisse = await a_caisse(identity_db, keys, "verdicts")
    report, told = await imported(identity_db, caisse, export.folder)
    kept = await rows_of(identity_db, caisse, "import_verdict")
    assert len(kept) == len(told)
    assert {row["run_id"] for row in kept} == {report.run_id}
    assert "7,32" not in str(kept)
    (run,) = await rows_of(identity_db, caisse, "import_run")
    counts = msgspec.json.decode(str(run["counts"]))
    assert counts[mapping.ADHERENTS]["accepted"] == report.files[mapping.ADHERENTS].counts.accepted


async def test_an_unbalanced_quote_spoils_its_own_line_only(
    identity_db: Database, keys: KeyEncryption, tmp_path: Path
):
    caisse = await a_caisse(identity_db, keys, "guillemets")
    write_former_export(tmp_path, size=20)
    file = tmp_path / mapping.ADHERENTS
    lines = file.read_bytes().split(b"\r\n")
    lines[2] = lines[2].replace(b"EURL ", b'"EURL ')
    lines[3] = lines[3].replace(b"SARL Fa", b'"SARL ""Fa').replace(b";70,", b'""";70,')
    file.write_bytes(b"\r\n".join(lines))
    _, told = await imported(identity_db, caisse, tmp_path)

    assert [(v.line, v.code) for v in told if v.file == mapping.ADHERENTS] == [
        (3, "field_count"),
        (19, "spreadsheet"),
    ]
    async with identity_db.transaction(caisse) as tx:
        name = await tx.fetchval("SELECT legal_name FROM adherent WHERE adherent_number = '1000003'")
    assert name == 'SARL "Façades Verratœuf"'


async def test_what_is_no_export_is_refused_with_the_missing_column(
    identity_db: Database, keys: KeyEncryption, tmp_path: Path
):
    caisse = await a_caisse(identity_db, keys, "illisible")
    (tmp_path / mapping.ADHERENTS).write_text("NUM_ADHERENT;SIREN\n1;2\n")
    with pytest.raises(NotAnExport, match="SIRET, RAISON_SOCIALE"):
        await imported(identity_db, caisse, tmp_path)


async def test_an_unknown_caisse_imports_nothing(identity_db: Database, tmp_path: Path):
    with pytest.raises(NoSuchCaisse):
        await imported(identity_db, parse_caisse_slug("inconnue"), tmp_path)

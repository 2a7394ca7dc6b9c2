"""A number that is a firm's never becomes another's: its accounts and mandates would pass to strangers."""

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from libs.common.database.pool import Database
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.legacy_export.tally import FileCounts
from libs.common.legacy_export.verdict import Verdict
from libs.common.values.caisse_slug import CaisseSlug
from services.caisse_opening.commands import described
from services.demonstration.former_export import FormerExport, siren_of_index, write_former_export
from services.identity.caisses.add import add_caisse
from services.identity.legacy_import import mapping
from services.identity.legacy_import.batch import NumberTakenMeanwhile, write_batch
from services.identity.legacy_import.import_export import import_export
from services.identity.legacy_import.mapping import AdherentRow
from services.identity.legacy_import.spill import MemberFile

NOW = datetime(2021, 1, 6, 9, tzinfo=UTC)
OTHER_SIREN = siren_of_index(77_777_777)


async def an_imported_caisse(
    db: Database, keys: KeyEncryption, slug: str, export: FormerExport
) -> CaisseSlug:
    caisse = described(slug)
    async with db.transaction(caisse.slug) as tx:
        await add_caisse(tx, keys, caisse)
    await import_export(db, caisse.slug, export.folder, now=NOW)
    return caisse.slug


def given_to(export: FormerExport, number: str, siren: str, folder: Path, *, country: str = "") -> Path:
    """The same export, in which this number is that of another firm."""
    shutil.copytree(export.folder, folder)
    path = folder / mapping.ADHERENTS
    lines = path.read_bytes().decode("iso-8859-15").split("\r\n")
    for rank, line in enumerate(lines):
        fields = line.split(";")
        if fields[0] == number:
            fields[1], fields[2], fields[3] = siren, "", "Autre Entreprise"
            fields[9] = country or fields[9]
            lines[rank] = ";".join(fields)
    path.write_bytes("\r\n".join(lines).encode("iso-8859-15"))
    return folder


async def known_of(db: Database, caisse: CaisseSlug) -> list[list[Any]]:
    """Every row that an import writes, and every fact it announces."""
    async with db.transaction(caisse) as tx:
        return [
            [tuple(row) for row in await tx.fetch(f"SELECT * FROM {table} ORDER BY 1")]
            for table in ("adherent", "establishment", "former_contact", "former_authorisation", "outbox")
        ]


@pytest.mark.parametrize(
    ("slug", "siren", "country"), [("autre-siren", OTHER_SIREN, ""), ("sans-siren", "", "ITALIE")]
)
async def test_its_line_is_refused_with_all_that_hangs_on_it_and_nothing_changes(
    identity_db: Database, keys: KeyEncryption, tmp_path: Path, slug: str, siren: str, country: str
) -> None:
    export = write_former_export(tmp_path / "before", size=60)
    caisse = await an_imported_caisse(identity_db, keys, slug, export)
    before = await known_of(identity_db, caisse)
    number = export.up_to_date[0]
    folder = given_to(export, number, siren, tmp_path / "after", country=country)

    for is_dry_run in (True, False, False):
        told: list[Verdict] = []
        report = await import_export(
            identity_db, caisse, folder, now=NOW, is_dry_run=is_dry_run, tell=told.append
        )
        (refusal,) = [verdict for verdict in told if verdict.code == "other_firm"]
        assert (refusal.file, refusal.column, refusal.outcome.value) == (
            mapping.ADHERENTS,
            "SIREN",
            "refused",
        )
        attached = {verdict.file for verdict in told if verdict.code == "unknown_adherent"}
        assert mapping.ESTABLISHMENTS in attached
        assert report.numbers_of_other_firms == {number}
        assert report.is_reconciled
        assert await known_of(identity_db, caisse) == before


async def test_a_foreign_firm_that_was_given_a_siren_stays_itself(
    identity_db: Database, keys: KeyEncryption, tmp_path: Path
) -> None:
    export = write_former_export(tmp_path / "before", size=60)
    caisse = await an_imported_caisse(identity_db, keys, "desormais-francaise", export)
    number = export.foreign[0]
    folder = given_to(export, number, OTHER_SIREN, tmp_path / "after")
    await import_export(identity_db, caisse, folder, now=NOW)

    async with identity_db.transaction(caisse) as tx:
        assert (
            await tx.fetchval("SELECT siren FROM adherent WHERE adherent_number = $1", number) == OTHER_SIREN
        )


async def test_an_import_that_did_not_see_another_give_the_number_away_writes_nothing(
    identity_db: Database, keys: KeyEncryption, tmp_path: Path
) -> None:
    export = write_former_export(tmp_path / "before", size=60)
    caisse = await an_imported_caisse(identity_db, keys, "deux-a-la-fois", export)
    before = await known_of(identity_db, caisse)
    row = AdherentRow(export.up_to_date[0], OTHER_SIREN, None, "Autre Entreprise", ["1 rue"], "member")
    counts = {file: FileCounts() for file in mapping.REQUIRED}

    with pytest.raises(NumberTakenMeanwhile):
        async with identity_db.transaction(caisse) as tx:
            await write_batch(tx, [MemberFile(row, [], [], [])], counts, NOW)
    assert await known_of(identity_db, caisse) == before

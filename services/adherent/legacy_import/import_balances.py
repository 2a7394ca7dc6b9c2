"""What a former system says was called, paid and declared: where the standing of a firm begins."""

from collections.abc import Callable
from pathlib import Path

from libs.common.database.pool import Database
from libs.common.legacy_export.profile import Profile, profile
from libs.common.legacy_export.row import Row
from libs.common.legacy_export.seen_keys import SeenKeys
from libs.common.legacy_export.tally import FileCounts, FileReport, Progress, Tell, accepted_rows
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.identifiers import new_id
from services.adherent.legacy_import import store
from services.adherent.legacy_import.mapping import MAPPINGS, REQUIRED, BalanceRow

BATCH = 2_000


class _DryRun(Exception):
    """Takes a batch back after it has been counted."""


async def import_balances(
    db: Database,
    caisse: CaisseSlug,
    folder: Path,
    *,
    is_dry_run: bool = False,
    numbers_of_other_firms: frozenset[str] = frozenset(),
    tell: Tell = lambda verdict: None,
    progress: Progress = lambda what, done, total: None,
) -> dict[str, FileReport]:
    """Bring statements.csv, payments.csv and declarations.csv in; each may be missing.

    Rows are kept by adhérent number, known here or not yet: the member files come from
    identity in their own time. Batches are whole or absent, and a second import of the
    same files changes nothing. A key seen twice in one file keeps its first line. Rows of
    `numbers_of_other_firms` are refused: the export gives there the accounts of a firm that
    is not the one known by the number.

    Until the last batch is in, no standing is judged in this caisse; killed on the way, not
    before an import comes to its end. Raises `NotAnExport` before anything is written.
    """
    # 1. Each file is readable, or nothing begins.
    found = {
        file: profile(folder / file, columns)
        for file, columns in REQUIRED.items()
        if (folder / file).exists()
    }
    if not found:
        return {}

    # 2. Half of the accounts would make of a late firm an attested one: nothing is said of them meanwhile.
    run = new_id()
    if not is_dry_run:
        async with db.transaction(caisse) as tx:
            await store.begin_loading(tx, run)

    # 3. Batch after batch. A death here leaves the caisse silent until the files are imported again.
    reports = {
        file: await _import_file(
            db, caisse, read, MAPPINGS[file], is_dry_run, numbers_of_other_firms, tell, progress
        )
        for file, read in found.items()
    }

    # 4. All is in.
    if not is_dry_run:
        async with db.transaction(caisse) as tx:
            await store.end_loading(tx, run)
    return reports


async def _import_file(
    db: Database,
    caisse: CaisseSlug,
    read: Profile,
    map_row: Callable[[Row], BalanceRow],
    is_dry_run: bool,
    numbers_of_other_firms: frozenset[str],
    tell: Tell,
    progress: Progress,
) -> FileReport:
    counts = FileCounts()
    with SeenKeys() as seen:

        def check(row: Row, mapped: BalanceRow) -> None:
            if mapped.adherent_number in numbers_of_other_firms:
                row.refuse("NUM_ADHERENT", "unknown_adherent", "Aucun adhérent accepté ne porte ce numéro.")
            if not seen.first_time(*mapped.key):
                row.refuse("", "already_seen", "La même ligne figure déjà plus haut.")

        batch: list[BalanceRow] = []
        for mapped in accepted_rows(read, counts, tell, progress, map_row, check):
            batch.append(mapped)
            if len(batch) == BATCH:
                await _write(db, caisse, batch, counts, is_dry_run)
                batch = []
        if batch:
            await _write(db, caisse, batch, counts, is_dry_run)
    return FileReport(encoding=read.encoding, separator=read.separator, counts=counts)


async def _write(
    db: Database, caisse: CaisseSlug, batch: list[BalanceRow], counts: FileCounts, is_dry_run: bool
) -> None:
    written = store.Written(0, 0)
    try:
        async with db.transaction(caisse) as tx:
            written = await store.write(tx, batch)
            if is_dry_run:
                raise _DryRun
    except _DryRun:
        pass
    counts.inserted += written.inserted
    counts.updated += written.updated
    counts.unchanged += len(batch) - written.inserted - written.updated

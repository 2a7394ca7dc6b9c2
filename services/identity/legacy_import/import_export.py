"""A former system's export becomes member files: profile → map → verdict → write → reconcile."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from uuid import UUID

import msgspec

from libs.common.database import journal
from libs.common.database.pool import Database
from libs.common.legacy_export.profile import Profile, profile
from libs.common.legacy_export.row import Row
from libs.common.legacy_export.tally import FileCounts, FileReport, Progress, Tell, accepted_rows
from libs.common.legacy_export.verdict import Verdict
from libs.common.refusals import NotFound
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.identifiers import new_id
from services.identity.delegation.recall_former import recall_former
from services.identity.legacy_import import mapping, store
from services.identity.legacy_import.batch import is_other_firm, write_batch
from services.identity.legacy_import.mapping import AdherentRow
from services.identity.legacy_import.spill import Attached, Spill

BATCH = 1_000
FIRMS_A_PAGE = 20_000


class NoSuchCaisse(NotFound):
    """The caisse was never added: nothing was read."""


class _DryRun(Exception):
    """Takes a batch back after it has been counted."""


class ImportReport(msgspec.Struct, kw_only=True):
    """What one run read, judged and wrote, file by file."""

    run_id: UUID
    is_dry_run: bool
    files: dict[str, FileReport]
    numbers_of_other_firms: frozenset[str]
    """Known here under another SIREN: what the export says of these numbers is of somebody else."""

    @property
    def is_reconciled(self) -> bool:
        return all(report.counts.is_reconciled for report in self.files.values())


async def import_export(
    db: Database,
    caisse: CaisseSlug,
    folder: Path,
    *,
    now: datetime,
    is_dry_run: bool = False,
    tell: Tell = lambda verdict: None,
    progress: Progress = lambda what, done, total: None,
) -> ImportReport:
    """Bring the member files of `folder` into the caisse; a bad row never stops a good one.

    Takes `db`, for it writes in batches of a thousand adhérents, each whole with its
    events or not at all. Killed anywhere and run again, it ends in the same state. A dry
    run does everything and takes each batch back. `tell` hears every refusal and correction.

    A known number under another SIREN is refused with all that hangs on it, and the firm
    stays as it was: its accounts and mandates would pass to people it does not know.

    Raises `NotAnExport` when adherents.csv is missing or unreadable, `NoSuchCaisse`,
    `NumberTakenMeanwhile` when another import gave a number away since it was judged.
    """
    # 1. Nothing is read for a caisse that does not exist.
    run_id = new_id()
    async with db.transaction(caisse) as tx:
        if not await store.has_caisse(tx):
            raise NoSuchCaisse(caisse)
        if not is_dry_run:
            await store.start_run(tx, run_id, now)

    profiles = {
        file: profile(folder / file, columns)
        for file, columns in mapping.REQUIRED.items()
        if file == mapping.ADHERENTS or (folder / file).exists()
    }
    counts = {file: FileCounts() for file in mapping.REQUIRED}
    with Spill() as spill:
        # 2. Judge every row against the firms the caisse knows, without the database from there on.
        await _remember_firms(db, caisse, spill)
        others = _judge(profiles, counts, spill, progress)

        # 3. Write batch after batch. A death here leaves whole batches behind, and the next run finds them.
        await _write(db, caisse, spill, counts, is_dry_run, now, progress)

        # 4. Keep the verdicts with the run, and close it.
        await _conclude(db, caisse, run_id, spill, counts, is_dry_run, now, tell)
    reports = {
        file: FileReport(encoding=known.encoding, separator=known.separator, counts=counts[file])
        for file, known in profiles.items()
    }
    return ImportReport(
        run_id=run_id, is_dry_run=is_dry_run, files=reports, numbers_of_other_firms=frozenset(others)
    )


async def _remember_firms(db: Database, caisse: CaisseSlug, spill: Spill) -> None:
    last = ""
    while True:
        async with db.transaction(caisse) as tx:
            firms = await store.known_sirens(tx, last, FIRMS_A_PAGE)
        if not firms:
            return
        spill.remember_firms(firms)
        last = firms[-1][0]


def _judge(
    profiles: dict[str, Profile], counts: dict[str, FileCounts], spill: Spill, progress: Progress
) -> set[str]:
    """Fill the spill with what is accepted; the numbers that arrived under another firm's SIREN."""
    others: set[str] = set()

    def keep_adherent(row: Row, mapped: AdherentRow) -> None:
        if is_other_firm(spill.known_siren(mapped.adherent_number), mapped.siren):
            others.add(mapped.adherent_number)
            row.refuse(
                "SIREN",
                "other_firm",
                "Ce numéro d'adhérent est déjà celui d'une entreprise d'un autre SIREN.",
            )
        if not spill.add_adherent(mapped):
            row.refuse("NUM_ADHERENT", "already_seen", "Ce numéro d'adhérent figure déjà plus haut.")

    def keeper(kind: str) -> Callable[[Row, Attached], None]:
        def keep(row: Row, mapped: Attached) -> None:
            if not spill.knows(mapped.adherent_number):
                row.refuse("NUM_ADHERENT", "unknown_adherent", "Aucun adhérent accepté ne porte ce numéro.")
            if not spill.attach(kind, mapped):
                row.refuse("", "already_seen", "La même ligne figure déjà plus haut pour cet adhérent.")

        return keep

    file = mapping.ADHERENTS
    for _ in accepted_rows(
        profiles[file], counts[file], spill.tell, progress, mapping.map_adherent, keep_adherent
    ):
        pass
    for file, map_row, kind in (
        (mapping.ESTABLISHMENTS, mapping.map_establishment, "establishment"),
        (mapping.CONTACTS, mapping.map_contact, "contact"),
        (mapping.AUTHORISATIONS, mapping.map_authorisation, "authorisation"),
    ):
        if file in profiles:
            for _ in accepted_rows(profiles[file], counts[file], spill.tell, progress, map_row, keeper(kind)):
                pass
    return {number for number in others if not spill.knows(number)}


async def _write(
    db: Database,
    caisse: CaisseSlug,
    spill: Spill,
    counts: dict[str, FileCounts],
    is_dry_run: bool,
    now: datetime,
    progress: Progress,
) -> None:
    done, total = 0, counts[mapping.ADHERENTS].accepted
    for batch in spill.batches(BATCH):
        try:
            async with db.transaction(caisse) as tx:
                written = await write_batch(tx, batch, counts, now)
                await recall_former(tx, written, now)
                if is_dry_run:
                    raise _DryRun
        except _DryRun:
            pass
        done += len(batch)
        progress("write", done, total)


async def _conclude(
    db: Database,
    caisse: CaisseSlug,
    run_id: UUID,
    spill: Spill,
    counts: dict[str, FileCounts],
    is_dry_run: bool,
    now: datetime,
    tell: Tell,
) -> None:
    pending: list[Verdict] = []
    for verdict in spill.verdicts():
        tell(verdict)
        pending.append(verdict)
        if len(pending) == BATCH:
            await _keep_verdicts(db, caisse, run_id, pending, is_dry_run)
            pending = []
    await _keep_verdicts(db, caisse, run_id, pending, is_dry_run)
    if is_dry_run:
        return
    async with db.transaction(caisse) as tx:
        await store.finish_run(tx, run_id, counts, now)
        await journal.record(
            tx,
            journal.Act(
                action="legacy_import.finished",
                subject_kind="import_run",
                subject_id=str(run_id),
                at=now,
                details={
                    "accepted": counts[mapping.ADHERENTS].accepted,
                    "refused": counts[mapping.ADHERENTS].refused,
                },
            ),
        )


async def _keep_verdicts(
    db: Database, caisse: CaisseSlug, run_id: UUID, verdicts: list[Verdict], is_dry_run: bool
) -> None:
    if verdicts and not is_dry_run:
        async with db.transaction(caisse) as tx:
            await store.write_verdicts(tx, run_id, verdicts)

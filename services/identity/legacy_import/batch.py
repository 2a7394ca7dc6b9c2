"""One batch of member files against what is already known: what is new, changed or the same."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from libs.common.database import outbox
from libs.common.database.transaction import Tx
from libs.common.events.identity import AdherentImported, ImportedEstablishment
from libs.common.legacy_export.tally import FileCounts
from libs.common.values.identifiers import new_id
from services.identity.delegation.void import void_of_adherents
from services.identity.legacy_import import mapping, store
from services.identity.legacy_import.mapping import EstablishmentRow
from services.identity.legacy_import.spill import MemberFile
from services.identity.legacy_import.store import (
    KnownAdherent,
    KnownAuthorisation,
    KnownContact,
    KnownEstablishment,
)
from services.identity.letters.revoke_letters import revoke_letters


class NumberTakenMeanwhile(Exception):
    """An import beside this one gave the number to a firm with another SIREN: run again, this one refuses its line."""


class _Merged(NamedTuple):
    """A member file next to its rows: `adherent` as it must be, and which establishments to write."""

    adherent: KnownAdherent
    establishments: list[KnownEstablishment]
    to_write: list[KnownEstablishment]
    is_changed: bool
    is_newly_struck_off: bool


async def write_batch(
    tx: Tx, batch: Sequence[MemberFile], counts: dict[str, FileCounts], now: datetime
) -> list[UUID]:
    """Write what differs, and announce each new or changed member file in the same transaction; the adhérents' ids.

    Writing the same batch twice changes and announces nothing, so an import that was
    killed between two batches is simply run again. An establishment that a later export
    no longer names stays: a caisse closes it with a date, never by leaving it out.

    A firm that the export strikes off loses its live mandates here, with the floors that
    end the tokens under them, and its letters open nothing more (domain.md, invariants 5 and 6).

    Records `AdherentImported`, `MandateVoided` and floors. Raises `NumberTakenMeanwhile`:
    whoever judged the rows saw the firms of before, and only the lock taken here is sure.
    """
    await store.one_import_at_a_time(tx)
    numbers = [file.adherent.adherent_number for file in batch]
    known = {adherent.adherent_number: adherent for adherent in await store.known_adherents(tx, numbers)}
    establishments: dict[UUID, list[KnownEstablishment]] = {}
    for row in await store.known_establishments(tx, [adherent.id for adherent in known.values()]):
        establishments.setdefault(row.adherent_id, []).append(row)

    merged: list[_Merged] = []
    for file in batch:
        before = known.get(file.adherent.adherent_number)
        if before and is_other_firm(before.siren, file.adherent.siren):
            raise NumberTakenMeanwhile
        merged.append(_merge(file, before, establishments.get(before.id, []) if before else [], counts))
    changed = [file for file in merged if file.is_changed]
    if changed:
        await store.write_adherents(tx, [file.adherent for file in changed], now)
        await store.write_establishments(tx, [row for file in changed for row in file.to_write])
        await outbox.record_all(tx, [_announcement(file, now) for file in changed])
    left = [file.adherent.id for file in changed if file.is_newly_struck_off]
    if left:
        await void_of_adherents(tx, left, "adherent_struck_off", now)
        await revoke_letters(tx, left, "adherent_struck_off", now)
    ids = [file.adherent.id for file in merged]
    await _write_attached(tx, batch, ids, counts)
    return ids


def is_other_firm(known_siren: str | None, siren: str | None) -> bool:
    """A SIREN is permanent (domain.md, §3). A foreign firm may be given its first one later; none is given back."""
    return known_siren is not None and siren != known_siren


def _merge(
    file: MemberFile,
    before: KnownAdherent | None,
    known: list[KnownEstablishment],
    counts: dict[str, FileCounts],
) -> _Merged:
    adherent_id = before.id if before else new_id()
    kept = {_key(row): row for row in known}
    to_write: list[KnownEstablishment] = []
    for row in _with_a_head_office(file):
        old = kept.get(row.key)
        wanted = KnownEstablishment(
            old.id if old else new_id(), adherent_id, row.siret, row.name, row.address,
            row.is_head_office, row.opened_on, row.closed_on,
        )  # fmt: skip
        if row in file.establishments:
            _count(counts[mapping.ESTABLISHMENTS], is_new=old is None, is_changed=old != wanted)
        if old != wanted:
            kept[row.key] = wanted
            to_write.append(wanted)
    row = file.adherent
    wanted_adherent = KnownAdherent(
        adherent_id, row.adherent_number, row.siren, row.siret, row.legal_name, row.address, row.state,
        before.version if before else 1,
    )  # fmt: skip
    _count(counts[mapping.ADHERENTS], is_new=before is None, is_changed=before != wanted_adherent)
    is_changed = before != wanted_adherent or bool(to_write)
    if before and is_changed:
        wanted_adherent = wanted_adherent._replace(version=before.version + 1)
    struck_off = before is not None and (before.state, row.state) == ("member", "struck_off")
    return _Merged(wanted_adherent, list(kept.values()), to_write, is_changed, struck_off)


def _with_a_head_office(file: MemberFile) -> list[EstablishmentRow]:
    """The establishments of the export; the firm's own address stands for a head office it does not name."""
    if any(row.is_head_office for row in file.establishments):
        return file.establishments
    firm = file.adherent
    others = [row for row in file.establishments if row.siret != firm.siret or row.siret is None]
    return [
        *others,
        EstablishmentRow(firm.adherent_number, firm.siret, "", firm.address, True, None, None),
    ]


async def _write_attached(
    tx: Tx, batch: Sequence[MemberFile], ids: Sequence[UUID], counts: dict[str, FileCounts]
) -> None:
    contacts = [
        KnownContact(new_id(), adherent_id, row.full_name, row.role, row.email, row.phone)
        for file, adherent_id in zip(batch, ids, strict=True)
        for row in file.contacts
    ]
    authorisations = [
        KnownAuthorisation(
            new_id(), adherent_id, row.cabinet_siren, row.cabinet_name, row.granted_on, row.source_line
        )
        for file, adherent_id in zip(batch, ids, strict=True)
        for row in file.authorisations
    ]
    _add(counts[mapping.CONTACTS], len(contacts), *await store.write_contacts(tx, contacts))
    _add(
        counts[mapping.AUTHORISATIONS],
        len(authorisations),
        *await store.write_authorisations(tx, authorisations),
    )


def _announcement(file: _Merged, now: datetime) -> AdherentImported:
    adherent = file.adherent
    return AdherentImported(
        event_id=new_id(),
        at=now,
        version=adherent.version,
        adherent_id=adherent.id,
        adherent_number=adherent.adherent_number,
        siren=adherent.siren,
        siret=adherent.siret,
        legal_name=adherent.legal_name,
        address=adherent.address,
        state=adherent.state,
        establishments=[
            ImportedEstablishment(
                establishment_id=row.id, siret=row.siret, name=row.name, address=row.address,
                is_head_office=row.is_head_office, opened_on=row.opened_on, closed_on=row.closed_on,
            )
            for row in sorted(file.establishments, key=lambda row: (not row.is_head_office, row.siret or ""))
        ],
    )  # fmt: skip


def _key(row: KnownEstablishment) -> str:
    return row.siret or "\n".join((row.name, *row.address))


def _count(counts: FileCounts, *, is_new: bool, is_changed: bool) -> None:
    counts.inserted += is_new
    counts.updated += is_changed and not is_new
    counts.unchanged += not is_changed


def _add(counts: FileCounts, written: int, inserted: int, updated: int) -> None:
    counts.inserted += inserted
    counts.updated += updated
    counts.unchanged += written - inserted - updated

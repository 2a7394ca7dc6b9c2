"""Issue an attestation: judged once, numbered without a gap, sealed once, whatever dies in between."""

import secrets
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import UUID

import msgspec
import structlog

from libs.common.database import journal, outbox
from libs.common.database.acts import of_software
from libs.common.database.pool import Database
from libs.common.database.transaction import Tx
from libs.common.events.documents import ActedBy, AttestationIssued, AttestationRefused
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.pages.formats import PARIS
from libs.common.refusals import DomainError, NotFound
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.crockford import new_code
from libs.common.values.identifiers import new_id, public_id
from services.documents.attestations import store
from services.documents.attestations.draft import (
    CODE_SYMBOLS,
    Draft,
    close_draft,
    close_payload,
    mac_of_code,
    open_draft,
    open_payload,
)
from services.documents.attestations.eligibility import Eligibility, Judgement, NotUpToDate
from services.documents.attestations.files import FileLost, Files
from services.documents.attestations.payload import (
    LEGAL_BASIS,
    Facts,
    Payload,
    PayloadAdherent,
    PayloadCaisse,
    PayloadStatus,
    canonical,
    data_hash,
    number_of,
    payload_of,
    plain_name,
)
from services.documents.attestations.permission import MayRequestAttestation
from services.documents.attestations.press import Press
from services.documents.attestations.render import render, template_name
from services.documents.attestations.store import Attestation, Reservation, SealedFile
from services.documents.caisses.store import Caisse
from services.documents.seals.certificates import Seal
from services.documents.seals.current_seal import current_seal, seal_of, the_caisse

if TYPE_CHECKING:
    from services.documents.attestations.seal import Sealed

log = structlog.get_logger()

STATUS_INDICES: Final = 2**20
"""Places in a year's status list: drawn at random, so that an index tells nothing of the order of issue."""

MOST_DRAWS: Final = 40
"""Places tried. With a sixth of a list taken, one paper in 10^31 finds none."""

REASON: Final = "Attestation de situation à jour"


class RequestKeyReused(DomainError):
    """This request key already asked for an attestation of another kind."""


class Workshop(NamedTuple):
    """What making a paper takes. `base` is the public address of this service."""

    db: Database
    keys: KeyEncryption
    files: Files
    press: Press
    base: str


class Issued(NamedTuple):
    """A sealed attestation, with what only its encrypted columns say."""

    row: Attestation
    draft: Draft
    payload: Payload


async def issue_attestation(
    shop: Workshop,
    eligibility: Eligibility,
    by: MayRequestAttestation,
    *,
    kind: str,
    request_key: str,
    now: datetime,
) -> Issued:
    """Give the attestation of `by.adherent_id`, once per `request_key` and once per day and facts.

    Three steps, each ending its transaction: reserved (code and status index
    drawn), numbered (exact bytes written), sealed (file stored, fact recorded).
    Whatever dies, the same key or the sweeper goes on from the step reached, so
    one key gives one attestation and a caisse's numbers have no gap
    (docs/explanation/attestations.md, "Issuing").

    Records `AttestationIssued`, or `AttestationRefused`. Raises `NotUpToDate` with
    typed reasons, `EligibilityUnavailable`, `RequestKeyReused`, `NotFound`.
    """
    attestation_id = await _already_asked(shop.db, by, kind, request_key)
    if attestation_id is None:
        judgement = await eligibility.judge(by.caisse, by.adherent_id)
        if not judgement.is_up_to_date:
            await _write_down_refusal(shop.db, by, kind, judgement, now)
            raise NotUpToDate(judgement.reasons)
        # 1. Reserved. From here on this key, and these facts today, mean this row.
        attestation_id = await reserve(shop, by, judgement, kind=kind, request_key=request_key, now=now)
    return await finish_attestation(shop, by.caisse, attestation_id, now=now)


async def finish_attestation(
    shop: Workshop, caisse: CaisseSlug, attestation_id: UUID, *, now: datetime
) -> Issued:
    """Bring a reserved attestation to its seal, from whichever step it had reached."""
    # 2. Numbered: the exact bytes exist before any seal can. Dying before the
    #    commit gives the number back; dying after it leaves a row to be sealed.
    row = await give_number(shop, caisse, attestation_id, now=now)
    if row.state == "sealed":
        return opened(shop.keys, caisse, row)

    # 3. Sealed, outside any transaction: same bytes, same seal (RFC 6979). The file
    #    is stored first, under the name of its digest; a second seal of a race or a
    #    retry stores the same file and finds the row taken.
    sealed = await _print(shop, caisse, row)
    await shop.files.put(sealed.file_path, sealed.pdf)
    async with shop.db.transaction(caisse) as tx:
        await store.hold_same_day(tx, row)
        if await store.write_seal(tx, attestation_id, sealed.columns, now):
            await _announce(tx, caisse, row, now)
        row = await _the_row(tx, attestation_id)
    return opened(shop.keys, caisse, row)


async def reserve(
    shop: Workshop,
    by: MayRequestAttestation,
    judgement: Judgement,
    *,
    kind: str,
    request_key: str,
    now: datetime,
) -> UUID:
    """Step 1: draw the code and the status index, and freeze the judgement with its inputs."""
    async with shop.db.transaction(by.caisse) as tx:
        caisse = await the_caisse(tx)
        facts = facts_of(caisse, judgement)
        attestation_id = new_id()
        if not await store.claim_request(tx, by.adherent_id, request_key, kind, attestation_id, now):
            return await _claimed_by_another(tx, by, kind, request_key)
        status_list = now.astimezone(PARIS).year
        draft = Draft(
            facts=facts,
            code=new_code(CODE_SYMBOLS),
            page=f"{shop.base}/{by.caisse}/verification",
            status_uri=f"{shop.base}/{by.caisse}/status-lists/{status_list}",
            judgement=msgspec.Raw(judgement.raw or msgspec.json.encode(judgement)),
        )
        code_mac = mac_of_code(shop.keys, draft.code)
        hashed = data_hash(facts)
        reservation = Reservation(
            id=attestation_id,
            adherent_id=by.adherent_id,
            kind=kind,
            as_of=judgement.as_of,
            data_hash=hashed,
            code_mac=code_mac,
            status_list=status_list,
            status_index=secrets.randbelow(STATUS_INDICES),
            draft=close_draft(shop.keys, by.caisse, attestation_id, draft),
            replaces=await store.live_of_same_day(tx, by.adherent_id, kind, judgement.as_of),
            by=by.by,
        )
        for _ in range(MOST_DRAWS):
            if await store.reserve(tx, reservation, now):
                break
            same = await store.live_of_same_facts(tx, by.adherent_id, kind, judgement.as_of, hashed)
            if same is not None:
                await store.point_request_at(tx, by.adherent_id, request_key, same)
                return same
            # The status index was taken: draw another.
            reservation = msgspec.structs.replace(reservation, status_index=secrets.randbelow(STATUS_INDICES))
        else:
            raise RuntimeError(f"the status list {status_list} of {by.caisse} is full")
        await store.lead_code_here(tx, code_mac)
        return attestation_id


async def give_number(
    shop: Workshop, caisse: CaisseSlug, attestation_id: UUID, *, now: datetime
) -> Attestation:
    """Step 2: take the caisse's next number and write the canonical bytes that hold it."""
    async with shop.db.transaction(caisse) as tx:
        row = await _the_row(tx, attestation_id)
        if row.state != "reserved" or not await store.hold_reserved(tx, attestation_id):
            return await _the_row(tx, attestation_id)
        seal = await current_seal(tx, shop.keys, base=shop.base, now=now)
        draft = open_draft(shop.keys, caisse, attestation_id, row.draft)
        year = now.astimezone(PARIS).year
        number = await store.take_number(tx, year)
        payload = payload_of(
            draft.facts,
            number=number_of(caisse, year, number),
            code=draft.code,
            issued_at=now,
            status=PayloadStatus(uri=draft.status_uri, idx=row.status_index),
            replaces=await _number_replaced(tx, caisse, row),
        )
        await store.write_number(
            tx,
            attestation_id,
            year=year,
            number=number,
            payload=close_payload(shop.keys, caisse, attestation_id, canonical(payload)),
            template=template_name(),
            seal_sequence=seal.sequence,
            issued_at=payload.emise_le,
        )
        return await _the_row(tx, attestation_id)


def facts_of(caisse: Caisse, judgement: Judgement) -> Facts:
    """What will be printed, from what was judged; names cleaned of what no reader should meet."""
    firm = judgement.member
    return Facts(
        caisse=PayloadCaisse(id=caisse.slug, nom=plain_name(caisse.name), siren=caisse.siren),
        adherent=PayloadAdherent(
            numero=firm.adherent_number,
            raison_sociale=plain_name(firm.legal_name),
            siren=firm.siren,
            siret=firm.siret,
        ),
        niveau="siren" if firm.siren else "adherent",
        situation="a_jour",
        a_jour_au=judgement.as_of,
        base_legale=LEGAL_BASIS,
    )


def opened(keys: KeyEncryption, caisse: CaisseSlug, row: Attestation) -> Issued:
    """Decrypt what a sealed row says."""
    if row.payload is None:
        raise NotFound
    draft = open_draft(keys, caisse, row.id, row.draft)
    return Issued(row, draft, open_payload(keys, caisse, row.id, row.payload))


async def sealed_file(shop: Workshop, caisse: CaisseSlug, row: Attestation) -> bytes:
    """The file of a sealed attestation, exactly as it was sealed.

    One that the store lost is printed and sealed again, which gives the same bytes (RFC 6979) as long as template
    and colour are those of that day: its digest says so. Raises `FilesUnavailable`.
    """
    if row.file_path is None:
        raise NotFound
    try:
        return await shop.files.get(row.file_path)
    except FileLost:
        printed = await _print(shop, caisse, row)
        if printed.columns.byte_range_digest != row.byte_range_digest:
            log.error("attestation.file_lost", attestation_id=str(row.id), caisse=caisse)
            raise
    await shop.files.put(printed.file_path, printed.pdf)
    log.warning("attestation.file_printed_again", attestation_id=str(row.id), caisse=caisse)
    return printed.pdf


class _Printed(NamedTuple):
    pdf: bytes
    file_path: str
    columns: SealedFile


async def _print(shop: Workshop, caisse: CaisseSlug, row: Attestation) -> _Printed:
    async with shop.db.transaction(caisse) as tx:
        known = await the_caisse(tx)
        seal = await seal_of(tx, shop.keys, row.seal_sequence or 0)
    issued = opened(shop.keys, caisse, row)
    sealed = await shop.press.print(lambda: _render_and_seal(issued, known, seal))
    path = f"{caisse}/{row.year}/{row.id}-{sealed.byte_range_digest.hex()[:16]}.pdf"
    columns = SealedFile(
        template=template_name(),
        cms=sealed.cms,
        byte_range_digest=sealed.byte_range_digest,
        file_path=path,
        file_size=len(sealed.pdf),
    )
    return _Printed(sealed.pdf, path, columns)


def _render_and_seal(issued: Issued, caisse: Caisse, seal: Seal) -> "Sealed":
    # Imported in the press, by the first paper: pyHanko weighs 200 ms and 36 MB, and readers seal nothing.
    from services.documents.attestations.seal import seal_pdf

    pdf = render(issued.payload, issued.draft.addresses, colour=caisse.colour)
    return seal_pdf(
        pdf, seal, sealed_at=issued.payload.emise_le, reason=REASON, name=issued.payload.caisse.nom
    )


async def _announce(tx: Tx, caisse: CaisseSlug, row: Attestation, now: datetime) -> None:
    """The paper exists: say so, write down who asked, and leave one of its day valid."""
    number = number_of(caisse, row.year or 0, row.number or 0)
    await store.retire_same_day(tx, row, now)
    await journal.record(
        tx,
        journal.Act(
            action="attestation.issued",
            subject_kind="attestation",
            subject_id=public_id("att", row.id),
            adherent_id=row.adherent_id,
            at=now,
            actor=actor_of(row.by),
            details={
                "number": number,
                "kind": row.kind,
                "as_of": row.as_of.isoformat(),
                **software_of(row.by),
            },
        ),
    )
    await outbox.record(
        tx,
        AttestationIssued(
            event_id=new_id(),
            at=now,
            attestation_id=row.id,
            number=number,
            kind=row.kind,
            adherent_id=row.adherent_id,
            as_of=row.as_of,
            by=row.by,
            replaces=row.replaces,
        ),
    )


async def _write_down_refusal(
    db: Database, by: MayRequestAttestation, kind: str, judgement: Judgement, now: datetime
) -> None:
    codes = sorted({reason.code for reason in judgement.reasons})
    async with db.transaction(by.caisse) as tx:
        await journal.record(
            tx,
            journal.Act(
                action="attestation.refused",
                subject_kind="adherent",
                subject_id=public_id("adh", by.adherent_id),
                adherent_id=by.adherent_id,
                at=now,
                actor=actor_of(by.by),
                details={"kind": kind, "reasons": codes, **software_of(by.by)},
            ),
        )
        await outbox.record(
            tx,
            AttestationRefused(
                event_id=new_id(),
                at=now,
                adherent_id=by.adherent_id,
                kind=kind,
                as_of=judgement.as_of,
                codes=codes,
                by=by.by,
            ),
        )


def software_of(by: ActedBy) -> dict[str, str | int | bool | list[str] | None]:
    return of_software(by.machine_id, by.sponsor_id)


def actor_of(by: ActedBy) -> journal.Actor:
    return journal.Actor(
        person_id=by.person_id,
        cabinet_id=by.cabinet_id,
        mandate_id=by.mandate_id,
        mandate_version=by.mandate_version,
        token_jti=by.token_jti,
    )


async def _already_asked(db: Database, by: MayRequestAttestation, kind: str, request_key: str) -> UUID | None:
    async with db.transaction(by.caisse) as tx:
        asked = await store.find_by_request(tx, by.adherent_id, request_key)
    if asked is not None and asked[1] != kind:
        raise RequestKeyReused
    return asked[0] if asked else None


async def _claimed_by_another(tx: Tx, by: MayRequestAttestation, kind: str, request_key: str) -> UUID:
    # The insert waited for the other request's commit, so its row is there to be read.
    asked = await store.find_by_request(tx, by.adherent_id, request_key)
    if asked is None or asked[1] != kind:
        raise RequestKeyReused
    return asked[0]


async def _number_replaced(tx: Tx, caisse: CaisseSlug, row: Attestation) -> str | None:
    if row.replaces is None:
        return None
    replaced = await _the_row(tx, row.replaces)
    return number_of(caisse, replaced.year or 0, replaced.number or 0)


async def _the_row(tx: Tx, attestation_id: UUID) -> Attestation:
    row = await store.find(tx, attestation_id)
    if row is None:
        raise NotFound
    return row

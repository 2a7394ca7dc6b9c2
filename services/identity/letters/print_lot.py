"""Hand a lot to the print shop: the PDF in clear, and a manifest that says whom each page goes to."""

import hashlib
import os
from datetime import datetime
from pathlib import Path
from uuid import UUID

import msgspec

from libs.common.database import journal
from libs.common.database.pool import Database
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.refusals import DomainError
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.identifiers import public_id
from services.identity.letters import store
from services.identity.letters.make import SEALED_FOR
from services.identity.letters.store import LotPage, PrintLot
from services.identity.letters.typeset import mark_of


class NoSuchLot(DomainError):
    """No lot of this caisse has that number."""


class LotPurged(DomainError):
    """The lot was posted and its letters erased: they can only be made anew."""


class ManifestPage(msgspec.Struct, frozen=True, kw_only=True):
    """One page of the PDF. `data_matrix` is what its mark says; no secret is here."""

    page: int
    adherent_number: str
    recipient: str
    kind: str
    data_matrix: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What the print shop checks before it prints, and returns when it has posted."""

    lot: str
    caisse: str
    kind: str
    letters: int
    sha256: str
    """Of the PDF, in hexadecimal."""
    post_on: str
    """The earliest day of posting, AAAA-MM-JJ."""
    pages: list[ManifestPage]


async def print_lot(
    db: Database, keys: KeyEncryption, caisse: CaisseSlug, lot_id: UUID, post_office: Path, *, now: datetime
) -> Manifest:
    """Write `{lot}.pdf` and `{lot}.json` into the folder of the print shop.

    Runs again without harm as long as the lot is not posted, as after a paper jam. The
    files appear whole, the manifest first. Raises `NoSuchLot`, `LotPurged`.
    """
    # 1. Open the lot; a transaction that ends without the files changes nothing.
    async with db.transaction(caisse) as tx:
        lot = await store.find_lot(tx, lot_id)
        if lot is None:
            raise NoSuchLot(str(lot_id))
        sealed = await store.sealed_pdf(tx, lot_id)
        if sealed is None:
            raise LotPurged(public_id("lot", lot_id))
        manifest = _manifest(caisse, lot, await store.pages(tx, lot_id))

    # 2. Hand it over. A death from here on leaves files that the next try replaces.
    pdf = keys.open(SEALED_FOR, sealed, context=lot_id.bytes)
    if hashlib.sha256(pdf).digest() != lot.sha256:
        raise RuntimeError(f"{manifest.lot} is not the lot that was made")
    _hand_over(post_office, manifest, pdf)

    # 3. Say so.
    async with db.transaction(caisse) as tx:
        await store.mark_printed(tx, lot_id, now)
        await store.pairs_printed(tx, lot_id)
        await journal.record(
            tx,
            journal.Act(
                action="letters.lot_printed", subject_kind="print_lot", subject_id=manifest.lot, at=now
            ),
        )
    return manifest


def _manifest(caisse: CaisseSlug, lot: PrintLot, pages: list[LotPage]) -> Manifest:
    name = public_id("lot", lot.id)
    return Manifest(
        lot=name,
        caisse=caisse,
        kind=lot.kind,
        letters=lot.letters,
        sha256=lot.sha256.hex(),
        post_on=lot.post_on.isoformat(),
        pages=[
            ManifestPage(
                page=page.page,
                adherent_number=page.adherent_number,
                recipient=page.legal_name,
                kind=lot.kind,
                data_matrix=mark_of(name, page.page),
            )
            for page in pages
        ],
    )


def _hand_over(folder: Path, manifest: Manifest, pdf: bytes) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, content in (
        (f"{manifest.lot}.json", msgspec.json.encode(manifest)),
        (f"{manifest.lot}.pdf", pdf),
    ):
        half_written = folder / f".{name}.part"
        with open(os.open(half_written, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        half_written.replace(folder / name)

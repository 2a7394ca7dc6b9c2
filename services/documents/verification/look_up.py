"""Is this paper genuine, and what is it worth now? Answered to whoever holds it."""

from datetime import datetime
from typing import Literal, NamedTuple

from libs.common.database import journal
from libs.common.database.transaction import Tx
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.crockford import MistypedCode, parse_code
from libs.common.values.identifiers import public_id
from services.documents.attestations import store
from services.documents.attestations.draft import CODE_SYMBOLS, mac_of_code
from services.documents.attestations.issue import Workshop, opened
from services.documents.attestations.payload import Payload
from services.documents.attestations.store import Attestation

NO_CODE = "0" * CODE_SYMBOLS + "-"
"""Stands for what is no code at all: looked up like the others, and found by none."""

By = Literal["code", "file"]


class Checked(NamedTuple):
    """What is printed, and the state at `checked_at`: valid, withdrawn, superseded or to_reconfirm."""

    payload: Payload
    state: str
    state_since: datetime | None
    checked_at: datetime


async def look_up_code(shop: Workshop, caisse: CaisseSlug, typed: str, *, now: datetime) -> Checked | None:
    """Check a code on the page of `caisse`. None for unknown, malformed and another caisse's alike.

    The three do the same work, statement for statement, so that neither body nor
    time tells them apart (attestations.md §10). Hits are journalled, a line a minute, without the visitor.
    """
    code_mac = mac_of_code(shop.keys, _code_or_none(typed))
    async with shop.db.transaction(caisse) as tx:
        row = await store.find_by_code(tx, code_mac)
        return None if row is None else await _checked(shop, tx, row, "code", now)


async def look_up_qr_code(shop: Workshop, typed: str, *, now: datetime) -> tuple[CaisseSlug, Checked] | None:
    """The same for the address a QR code holds, which names no caisse."""
    code_mac = mac_of_code(shop.keys, _code_or_none(typed))
    async with shop.db.across_caisses() as tx:
        caisse = await store.caisse_of_code(tx, code_mac)
    if caisse is None:
        return None
    checked = await look_up_code(shop, caisse, typed, now=now)
    return (caisse, checked) if checked is not None else None


async def look_up_digest(
    shop: Workshop, caisse: CaisseSlug, byte_range_digest: bytes, *, now: datetime
) -> Checked | None:
    """Check the file whose seal, verified already, covers this digest."""
    async with shop.db.transaction(caisse) as tx:
        row = await store.find_by_digest(tx, byte_range_digest)
        return None if row is None else await _checked(shop, tx, row, "file", now)


def _code_or_none(typed: str) -> str:
    try:
        return parse_code(typed, CODE_SYMBOLS)
    except MistypedCode:
        return NO_CODE


async def _checked(shop: Workshop, tx: Tx, row: Attestation, by: By, now: datetime) -> Checked:
    payload = opened(shop.keys, tx.the_caisse, row).payload
    # Anybody who holds a paper may press this button, without end: neither the journal nor the hundred acts that its
    # firm is shown are theirs to fill (decision 0121).
    await journal.record_once(
        tx,
        journal.Act(
            action="attestation.checked",
            subject_kind="attestation",
            subject_id=public_id("att", row.id),
            adherent_id=row.adherent_id,
            at=now,
            details={"number": payload.id, "by": by, "state": row.status},
        ),
        f"{by}/{row.status}",
    )
    return Checked(payload, row.status, row.status_changed_at, now)

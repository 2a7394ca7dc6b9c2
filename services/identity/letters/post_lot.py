"""A lot is in the post: the clock of its pairs runs, and its sealed letters are erased with proof."""

import hashlib
import hmac
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec

from libs.common.database import journal
from libs.common.database.transaction import Tx
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.pages.formats import PARIS
from libs.common.refusals import DomainError
from libs.common.values.identifiers import public_id
from services.identity.caisses.caisse import Caisse
from services.identity.letters import store
from services.identity.letters.paper_secret import Half
from services.identity.letters.print_lot import NoSuchLot
from services.identity.letters.store import PrintLot

PROVEN_BY = "letters/purge-proof"


class NotToBePosted(DomainError):
    """The lot is not printed, posted already, too early, or would share an envelope's day with the other."""


class Posted(NamedTuple):
    lot: str
    pairs: int
    """The pairs that moved on: to `first_mailed`, or to `mailed`."""
    valid_until: datetime | None


class PurgeProof(msgspec.Struct, frozen=True, kw_only=True):
    """What was erased, when, and a MAC that only this installation can make."""

    lot: str
    caisse: str
    kind: str
    letters: int
    sha256: str
    sealed_sha256: str
    purged_at: datetime
    mac: str = ""


async def post_lot(
    tx: Tx, keys: KeyEncryption, caisse: Caisse, lot_id: UUID, *, now: datetime, same_day: bool = False
) -> Posted:
    """Note that the print shop posted a lot, and erase it.

    The second lot may go only after all first letters of its pairs went, on another day
    (in Paris) and not before its date; `same_day` is for the demonstration and for a
    reissue handed over by an officer. Then its pairs are valid for the caisse's 60 days.
    Raises `NoSuchLot`, `NotToBePosted`.
    """
    lot = await store.find_lot(tx, lot_id)
    if lot is None:
        raise NoSuchLot(str(lot_id))
    if not same_day:
        await _check_day(tx, lot, now)
    if not await store.mark_posted(tx, lot_id, now):
        raise NotToBePosted("not printed, or posted already")
    valid_until: datetime | None = None
    if lot.kind == Half.IDENTIFIANT:
        pairs = await store.pairs_first_mailed(tx, lot_id)
    else:
        if await store.first_posting(tx, lot_id) is None:
            raise NotToBePosted("a first letter still waits")
        valid_until = now + caisse.settings.letters.validity
        pairs = await store.pairs_mailed(tx, lot_id, valid_until)
    await _purge(tx, keys, lot, now)
    name = public_id("lot", lot_id)
    await journal.record(
        tx,
        journal.Act(
            action="letters.lot_posted",
            subject_kind="print_lot",
            subject_id=name,
            at=now,
            details={"kind": lot.kind, "pairs": pairs},
        ),
    )
    return Posted(name, pairs, valid_until)


def proof_holds(keys: KeyEncryption, lot: PrintLot) -> bool:
    """Whether the kept proof is the one this installation wrote for this lot."""
    if lot.purge_proof is None:
        return False
    proof = msgspec.json.decode(lot.purge_proof, type=PurgeProof)
    return (
        proof.lot == public_id("lot", lot.id)
        and proof.sha256 == lot.sha256.hex()
        and hmac.compare_digest(proof.mac, _mac(keys, proof))
    )


async def _check_day(tx: Tx, lot: PrintLot, now: datetime) -> None:
    today = now.astimezone(PARIS).date()
    if today < lot.post_on:
        raise NotToBePosted(f"not before {lot.post_on.isoformat()}")
    if lot.kind == Half.CODE_CONFIDENTIEL:
        first = await store.first_posting(tx, lot.id)
        if first is None or first.astimezone(PARIS).date() >= today:
            raise NotToBePosted("the first letters must have gone on an earlier day")


async def _purge(tx: Tx, keys: KeyEncryption, lot: PrintLot, now: datetime) -> None:
    sealed = await store.sealed_pdf(tx, lot.id)
    if sealed is None:
        raise NotToBePosted("erased already")
    proof = PurgeProof(
        lot=public_id("lot", lot.id),
        caisse=tx.the_caisse,
        kind=lot.kind,
        letters=lot.letters,
        sha256=lot.sha256.hex(),
        sealed_sha256=hashlib.sha256(sealed).hexdigest(),
        purged_at=now,
    )
    signed = msgspec.structs.replace(proof, mac=_mac(keys, proof))
    await store.purge(tx, lot.id, msgspec.json.encode(signed).decode(), now)


def _mac(keys: KeyEncryption, proof: PurgeProof) -> str:
    return keys.mac(PROVEN_BY, msgspec.json.encode(msgspec.structs.replace(proof, mac=""))).hex()

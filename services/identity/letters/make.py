"""Make letter pairs: draw the two halves, set them in two lots, keep only what recognises them."""

import asyncio
import hashlib
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from libs.common.database import journal
from libs.common.database.pool import Database
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.legacy_export.tally import Progress
from libs.common.pages.formats import PARIS
from libs.common.refusals import DomainError
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.crockford import CheckedCode
from libs.common.values.identifiers import new_id, public_id
from services.identity.caisses import store as caisses
from services.identity.caisses.caisse import Caisse
from services.identity.letters import store
from services.identity.letters.paper_secret import Half, PaperSecrets
from services.identity.letters.recipient import Recipient
from services.identity.letters.store import NewLot, NewPair
from services.identity.letters.typeset import Letter, typeset

LOT = 500
"""Letters a lot: some 4 MB of PDF, 300 MB to set them, and a loss that an hour makes good."""

SEALED_FOR = "letters/print-lot"


class NobodyToWriteTo(DomainError):
    """None of the adhérents asked for exists, is a member and has an address."""


class LettersBeingMade(DomainError):
    """Another hand made letters for the same adhérent meanwhile: nothing was kept of these."""


class MadePair(NamedTuple):
    """One pair, and where its halves are printed. Never what they say."""

    pair_id: UUID
    adherent_number: str
    identifiant_lot: UUID
    code_lot: UUID
    page: int


class MadeLots(NamedTuple):
    """Two lots of as many letters, in the same order of adhérents."""

    identifiant_lot: UUID
    code_lot: UUID
    pairs: list[MadePair]


class Sender(NamedTuple):
    """What every letter of both lots says alike."""

    caisse: Caisse
    post_on: dict[Half, date]
    valid_through: date
    address: str


class _Drawn(NamedTuple):
    pair_id: UUID
    recipient: Recipient
    codes: dict[Half, CheckedCode]
    salts: dict[Half, bytes]
    hashes: dict[Half, bytes]


async def make_letters(
    db: Database,
    caisse: CaisseSlug,
    paper: PaperSecrets,
    keys: KeyEncryption,
    *,
    numbers: Sequence[str] | None,
    portal: str,
    now: datetime,
    limit: int = LOT,
    progress: Progress = lambda what, done, total: None,
) -> MadeLots:
    """Two print lots for at most `limit` adhérents, which stay sealed until they are printed.

    With `numbers`, those adhérents get a new pair and their old halves die (a reissue);
    without, the members that have neither an account nor a live pair. `portal` is the
    portal's public address. In clear the secrets live in this function and in the sealed
    PDFs, nowhere else. Raises `NobodyToWriteTo`, `LettersBeingMade`.
    """
    # 1. Whom to write to.
    async with db.transaction(caisse) as tx:
        known = await caisses.find(tx, caisse)
        recipients = await store.recipients(tx, numbers, min(limit, LOT))
    if known is None or not recipients:
        raise NobodyToWriteTo

    # 2. Draw and hash, outside any transaction. A death here leaves nothing.
    drawn = await _draw(caisse, paper, recipients, progress)

    # 3. Set both lots, to be posted some days apart.
    sender = _sender(known, portal, now)
    lots = {half: await _set_lot(sender, half, drawn, keys, now) for half in Half}

    # 4. Both lots, all pairs and the death of the old ones, together or not at all.
    async with db.transaction(caisse) as tx:
        if numbers is not None:
            await store.end_pairs(
                tx, [one.recipient.adherent_id for one in drawn], "reissued", "reissued", now
            )
        for lot in lots.values():
            await store.add_lot(tx, lot)
        pairs = [
            NewPair(
                one.pair_id, one.recipient.adherent_id,
                one.salts[Half.IDENTIFIANT], one.hashes[Half.IDENTIFIANT],
                one.salts[Half.CODE_CONFIDENTIEL], one.hashes[Half.CODE_CONFIDENTIEL],
                lots[Half.IDENTIFIANT].id, page, lots[Half.CODE_CONFIDENTIEL].id, page,
            )
            for page, one in enumerate(drawn, start=1)
        ]  # fmt: skip
        if await store.add_pairs(tx, pairs, now) != len(pairs):
            raise LettersBeingMade
        for lot in lots.values():
            await journal.record(tx, _made(lot, now))
    identifiant_lot, code_lot = lots[Half.IDENTIFIANT].id, lots[Half.CODE_CONFIDENTIEL].id
    made = [
        MadePair(one.pair_id, one.recipient.adherent_number, identifiant_lot, code_lot, page)
        for page, one in enumerate(drawn, start=1)
    ]
    return MadeLots(identifiant_lot, code_lot, made)


def _sender(caisse: Caisse, portal: str, now: datetime) -> Sender:
    letters = caisse.settings.letters
    first_on = now.astimezone(PARIS).date()
    second_on = first_on + timedelta(days=letters.days_between)
    return Sender(
        caisse,
        {Half.IDENTIFIANT: first_on, Half.CODE_CONFIDENTIEL: second_on},
        # A later posting gives more time than is printed, never less.
        second_on + letters.validity,
        f"{portal.removeprefix('https://').removeprefix('http://')}/{caisse.slug}",
    )


async def _draw(
    caisse: CaisseSlug, paper: PaperSecrets, recipients: Sequence[Recipient], progress: Progress
) -> list[_Drawn]:
    drawn: list[_Drawn] = []
    for start in range(0, len(recipients), 50):
        drawn += await asyncio.gather(
            *(_draw_one(caisse, paper, recipient) for recipient in recipients[start : start + 50])
        )
        progress("draw", len(drawn), len(recipients))
    return drawn


async def _draw_one(caisse: CaisseSlug, paper: PaperSecrets, recipient: Recipient) -> _Drawn:
    pair_id = new_id()
    codes = {half: half.draw() for half in Half}
    salts = {
        Half.IDENTIFIANT: paper.identifiant_salt(caisse, recipient.number_on_paper),
        Half.CODE_CONFIDENTIEL: pair_id.bytes,
    }
    hashes = {half: await paper.hash(half, codes[half], salts[half]) for half in Half}
    return _Drawn(pair_id, recipient, codes, salts, hashes)


async def _set_lot(
    sender: Sender, half: Half, drawn: Sequence[_Drawn], keys: KeyEncryption, now: datetime
) -> NewLot:
    lot_id = new_id()
    pdf = await typeset(
        sender.caisse,
        half,
        public_id("lot", lot_id),
        [Letter(one.recipient, one.codes[half]) for one in drawn],
        written_on=sender.post_on[half],
        valid_through=sender.valid_through,
        address=sender.address,
    )
    return NewLot(
        id=lot_id,
        kind=half,
        letters=len(drawn),
        sha256=hashlib.sha256(pdf).digest(),
        sealed=keys.seal(SEALED_FOR, pdf, context=lot_id.bytes),
        post_on=sender.post_on[half],
        made_at=now,
    )


def _made(lot: NewLot, now: datetime) -> journal.Act:
    return journal.Act(
        action="letters.lot_made",
        subject_kind="print_lot",
        subject_id=public_id("lot", lot.id),
        at=now,
        details={"kind": lot.kind, "letters": lot.letters, "sha256": lot.sha256.hex()},
    )

"""One pair for one adhérent, out of turn: asked by an officer or by a program that may."""

from datetime import datetime
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from libs.common.database.pool import Database
from libs.common.keys.key_encryption import KeyEncryption
from services.identity.caisses.caisse import Caisse
from services.identity.letters.make import MadePair, make_letters
from services.identity.letters.paper_secret import PaperSecrets
from services.identity.letters.post_lot import post_lot
from services.identity.letters.print_lot import print_lot


class IssuedPair(NamedTuple):
    """Where the two letters are; never what they say."""

    pair: MadePair
    valid_until: datetime | None
    """Set when both letters are posted already; else the print shop's word is awaited."""


async def issue_pair(
    db: Database,
    caisse: Caisse,
    paper: PaperSecrets,
    keys: KeyEncryption,
    *,
    adherent_number: str,
    portal: str,
    post_office: Path,
    posts_at_once: bool,
    now: datetime,
) -> IssuedPair:
    """Make a pair, which kills an older one, and hand both letters to the print shop.

    `posts_at_once` is for the demonstration, whose post office delivers on the spot; in
    life the print shop posts the second letter on a later day. Raises `NobodyToWriteTo`.
    """
    # 1. The pair and its two lots of one letter.
    made = await make_letters(db, caisse.slug, paper, keys, numbers=[adherent_number], portal=portal, now=now)

    # 2. To the print shop. A death here leaves a sealed pair that `espace letters print` takes up.
    lots: list[UUID] = [made.identifiant_lot, made.code_lot]
    for lot in lots:
        await print_lot(db, keys, caisse.slug, lot, post_office, now=now)

    # 3. In the demonstration, to the letter box.
    valid_until: datetime | None = None
    if posts_at_once:
        for lot in lots:
            async with db.transaction(caisse.slug) as tx:
                posted = await post_lot(tx, keys, caisse, lot, now=now, same_day=True)
            valid_until = posted.valid_until
    return IssuedPair(made.pairs[0], valid_until)

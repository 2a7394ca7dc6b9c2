"""Two letters in hand: prove them, and let them die once they have served."""

import hmac
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from libs.common.database import journal
from libs.common.database.pool import Database
from libs.common.database.transaction import Tx
from libs.common.refusals import DomainError
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.siret import parse_siret
from services.identity.letters import store
from services.identity.letters.paper_secret import Half, PaperSecrets

FAILURES_OF_A_LIFE = 10


class PairNotUsable(DomainError):
    """Unknown number, wrong half, dead or expired pair: deliberately one answer, page and duration."""


class ProvenPair(NamedTuple):
    """Proof that both letters of this adhérent were in one hand; made only by `check_pair`."""

    pair_id: UUID
    adherent_id: UUID
    adherent_number: str
    legal_name: str


async def check_pair(
    db: Database,
    caisse: CaisseSlug,
    paper: PaperSecrets,
    *,
    number: str,
    identifiant: str,
    code_confidentiel: str,
    now: datetime,
) -> ProvenPair:
    """Recognise the two halves as typed, for a SIRET or adhérent number as typed.

    Takes `db`, for a refusal must leave its count behind. Raises `InvalidSiret` or
    `MistypedCode` for a slip that a check character caught (told, not counted), and
    `PairNotUsable` for everything else after the same work: one read, two slow hashes,
    one small write. Kills nothing: the letters die when the e-mail is confirmed.

    Journey: docs/explanation/first-connection.md, step 2; domain.md §4.
    """
    typed_number = parse_number(number)
    typed_identifiant = Half.IDENTIFIANT.parse(identifiant)
    typed_code = Half.CODE_CONFIDENTIEL.parse(code_confidentiel)

    # 1. Who could this be? Several files may share one SIRET, and then one salt.
    async with db.transaction(caisse) as tx:
        candidates = await store.mailed_pairs(tx, typed_number, now)

    # 2. First slow hash: does the identifiant belong to one of them?
    salt = candidates[0].identifiant_salt if candidates else paper.identifiant_salt(caisse, typed_number)
    typed_hash = await paper.hash(Half.IDENTIFIANT, typed_identifiant, salt)
    met = [
        pair
        for pair in candidates
        if hmac.compare_digest(pair.identifiant_hash, typed_hash) & (pair.identifiant_salt == salt)
    ]
    pair = met[0] if met else None

    # 3. Spend one of the ten failures before the code is looked at: a hundred guesses
    #    sent at once cannot share a try. A crash from here on leaves it spent.
    async with db.transaction(caisse) as tx:
        await store.note_attempt(tx, pair and pair.id, now)
        allowed = pair is not None and await store.spend_failure(tx, pair.id, now)

    # 4. Second slow hash, done for nobody too.
    code_hash = await paper.hash(Half.CODE_CONFIDENTIEL, typed_code, pair.code_salt if pair else salt)
    if pair is None or not allowed or not hmac.compare_digest(pair.code_hash, code_hash):
        raise PairNotUsable

    # 5. It was right: that try cost nothing after all.
    async with db.transaction(caisse) as tx:
        if not await store.give_failure_back(tx, pair.id):
            raise PairNotUsable("killed while it was being checked")
    return ProvenPair(pair.id, pair.adherent_id, pair.adherent_number, pair.legal_name)


async def kill_pair(tx: Tx, pair_id: UUID, now: datetime) -> UUID:
    """Spend a proven pair for good, in the transaction that opens the account; whose it was.

    Erases both hashes, so a letter found in a drawer opens nothing. A pair that came to
    its last day since it was proven still serves; one that was reissued, revoked, already
    redeemed, or that expired and has newer letters after it, raises `PairNotUsable`.
    """
    adherent_id = await store.redeem(tx, pair_id, now)
    if adherent_id is None:
        raise PairNotUsable
    await journal.record(
        tx,
        journal.Act(
            action="letters.redeemed",
            subject_kind="letter_pair",
            subject_id=str(pair_id),
            adherent_id=adherent_id,
            at=now,
        ),
    )
    return adherent_id


def parse_number(typed: str) -> str:
    """A SIRET or an adhérent number; fourteen digits are held to the SIRET's keys (`InvalidSiret`)."""
    digits = digits_of(typed)
    return parse_siret(digits) if len(digits) == 14 else "".join(typed.split()).upper()


def digits_of(typed: str) -> str:
    """The digits of a number made of nothing else, spaces and hyphens apart; empty for any other."""
    bare = "".join(typed.split()).replace("-", "")
    return bare if bare.isascii() and bare.isdigit() else ""

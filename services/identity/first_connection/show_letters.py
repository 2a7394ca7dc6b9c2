"""Step 2: both letters in one hand open a first connection, bound to this browser.

Journey: docs/explanation/first-connection.md, step 2.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

from libs.common.database.pool import Database
from libs.common.refusals import DomainError
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.crockford import MistypedCode
from libs.common.values.identifiers import new_id
from libs.common.values.sentence import Sentence
from libs.common.values.siret import InvalidSiret
from services.identity.first_connection import store
from services.identity.letters.paper_secret import Half, PaperSecrets
from services.identity.letters.redeem import check_pair, parse_number
from services.identity.sign_in.session import hash_of, new_secret

PENDING_LASTS = timedelta(days=30)
"""What was left unfinished is purged then (domain.md §8)."""


class Typed(NamedTuple):
    """What was typed from the letters, as typed."""

    number: str
    identifiant: str
    code_confidentiel: str


class Slips(DomainError):
    """Check characters disagree: told, field by field, and not counted."""

    def __init__(self, fields: dict[str, Sentence]) -> None:
        super().__init__(", ".join(sorted(fields)))
        self.fields = fields
        """Field name → how to mend it."""


async def show_letters(
    db: Database, paper: PaperSecrets, caisse: CaisseSlug, typed: Typed, *, now: datetime
) -> str:
    """Check the two letters; the cookie value that continues in this browser.

    Raises `Slips` before anything is looked up, `PairNotUsable` for everything else.
    """
    _refuse_slips(typed)
    pair = await check_pair(
        db,
        caisse,
        paper,
        number=typed.number,
        identifiant=typed.identifiant,
        code_confidentiel=typed.code_confidentiel,
        now=now,
    )
    cookie = new_secret()
    async with db.transaction(caisse) as tx:
        await store.open_row(
            tx,
            new_id(),
            hash_of(cookie),
            pair_id=pair.pair_id,
            adherent_id=pair.adherent_id,
            now=now,
            expires_at=now + PENDING_LASTS,
        )
    return cookie


def _refuse_slips(typed: Typed) -> None:
    slips: dict[str, Sentence] = {}
    if not typed.number:
        slips["number"] = Sentence("Indiquez votre numéro SIRET, ou votre numéro d’adhérent.")
    else:
        try:
            parse_number(typed.number)
        except InvalidSiret:
            slips["number"] = Sentence("Ce SIRET contient une erreur de frappe. Vérifiez ses 14 chiffres.")
    for name, named, text, half in (
        ("identifiant", _of_identifiant, typed.identifiant, Half.IDENTIFIANT),
        ("code-confidentiel", _of_code, typed.code_confidentiel, Half.CODE_CONFIDENTIEL),
    ):
        try:
            half.parse(text)
        except MistypedCode as error:
            how = error.reason if text else Sentence("Recopiez ici les caractères de votre courrier.")
            # Both may slip at once: without its name the summary would say one sentence twice.
            slips[name] = named(how)
    if slips:
        raise Slips(slips)


def _of_identifiant(how: Sentence) -> Sentence:
    return Sentence("Identifiant : %(how)s", how=how)


def _of_code(how: Sentence) -> Sentence:
    return Sentence("Code confidentiel : %(how)s", how=how)

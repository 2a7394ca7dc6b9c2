"""IBAN: the account a debit mandate names."""

import re
from typing import NewType

from stdnum import iban as stdnum_iban
from stdnum.exceptions import ValidationError

from libs.common.values.invalid import InvalidValue
from libs.common.values.sentence import Sentence

Iban = NewType("Iban", str)
"""A checked account number without spaces, in capitals; `parse_iban` is the only door."""

_FRENCH = re.compile("FR[0-9]{12}[0-9A-Z]{11}[0-9]{2}")
# The RIB key gives letters digits of its own: A and J are 1, B, K and S are 2, …
_RIB_DIGITS = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "12345678912345678923456789")


class InvalidIban(InvalidValue):
    reason = Sentence(
        "Cet IBAN n'est pas valable : vérifiez chaque caractère sur votre relevé d'identité bancaire."
    )


def parse_iban(typed: str) -> Iban:
    """ISO 13616: length and shape of the country, mod 97, and for France the RIB key too."""
    compact = "".join(typed.split()).upper()
    try:
        stdnum_iban.validate(compact)
    except ValidationError as error:
        raise InvalidIban from error
    # stdnum also forgives dots and dashes; a bank would not.
    if not compact.isalnum():
        raise InvalidIban
    if compact.startswith("FR") and not (_FRENCH.fullmatch(compact) and _passes_rib_key(compact)):
        raise InvalidIban
    return Iban(compact)


def mask_iban(iban: str) -> str:
    """`FR76 •••• •••• 0189`: enough to recognise an account, too little to use it."""
    return f"{iban[:4]} •••• •••• {iban[-4:]}"


def format_iban(iban: str) -> str:
    """Groups of four, with no-break spaces."""
    return "\u00a0".join(iban[start : start + 4] for start in range(0, len(iban), 4))


def _passes_rib_key(iban: str) -> bool:
    # Keys run from 01 to 97: 00, 98 and 99 would also satisfy the remainder.
    return 1 <= int(iban[-2:]) <= 97 and int(iban[4:].translate(_RIB_DIGITS)) % 97 == 0

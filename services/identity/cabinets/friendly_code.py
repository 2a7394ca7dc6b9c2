"""A cabinet's friendly code: short, said over the telephone, and good only to open an offer or a request."""

from libs.common.values.crockford import in_groups, new_code, parse_code
from libs.common.values.invalid import InvalidValue
from libs.common.values.sentence import Sentence
from libs.common.values.siret import InvalidSiren, Siren, parse_siren

SYMBOLS = 7
"""35 bits and a check character: no secret, yet not worth walking through."""


class NotACabinetNumber(InvalidValue):
    reason = Sentence("Indiquez le SIREN du cabinet (9 chiffres) ou son code (8 caractères).")


def new_friendly_code() -> str:
    """`K7M2P9QX`, to be shown as `K7M2 P9QX`."""
    return new_code(SYMBOLS)


def shown(code: str) -> str:
    return in_groups(code)


def parse_cabinet_number(typed: str) -> tuple[Siren | None, str | None]:
    """A SIREN or a friendly code, whichever was typed. Raises `InvalidSiren`, `NotACabinetNumber`."""
    bare = "".join(typed.split())
    if bare.isdigit() and len(bare) == 9:
        return parse_siren(bare), None
    try:
        return None, parse_code(typed, SYMBOLS)
    except InvalidValue:
        if bare.isdigit():
            raise InvalidSiren from None
        raise NotACabinetNumber from None

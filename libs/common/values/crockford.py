"""Crockford base32 with a check character: secrets a mason reads off a letter.

Thirty-two symbols, none of them I, L, O or U. The check character is the value of
a polynomial over GF(32), so it belongs to the same 32 symbols (Crockford's own
needs 37) and finds every single wrong symbol and every exchange of two symbols,
neighbours or not, in anything up to 30 characters long.
"""

import secrets
from typing import NewType

from libs.common.values.invalid import InvalidValue
from libs.common.values.sentence import Sentence

CheckedCode = NewType("CheckedCode", str)
"""Symbols and check character in canonical form: capitals, nothing between them."""

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_VALUE = {symbol: value for value, symbol in enumerate(ALPHABET)}
# What people type for what they see, and what they put between the groups.
_FORGIVEN = str.maketrans("OILoil", "011011")
_BETWEEN_GROUPS = frozenset(" \t\r\n\u00a0\u202f\u2009-\u2010\u2011\u2012\u2013\u2014.")
_PRIMITIVE = 0b100101  # x⁵ + x² + 1


class MistypedCode(InvalidValue):
    """The check character disagrees, or the length is wrong: a slip, not an attempt."""

    reason = Sentence("Un caractère semble mal recopié : comparez avec votre courrier, groupe par groupe.")


class WrongLength(MistypedCode):
    """Characters are missing, or there are too many: the commonest slip, told by its count."""

    def __init__(self, given: int, whole: int) -> None:
        super().__init__()
        missing = Sentence(
            "Il manque des caractères : vous en avez tapé %(given)s sur %(whole)s. Comparez avec votre courrier.",
            given=given,
            whole=whole,
        )
        too_many = Sentence(
            "Il y a des caractères en trop : vous en avez tapé %(given)s sur %(whole)s."
            " Comparez avec votre courrier.",
            given=given,
            whole=whole,
        )
        self.reason = missing if given < whole else too_many


def new_code(symbols: int) -> CheckedCode:
    """A fresh secret of `symbols` × 5 bits from the system's generator, with its check character."""
    drawn = "".join(ALPHABET[byte & 31] for byte in secrets.token_bytes(symbols))
    return CheckedCode(drawn + check_character(drawn))


def parse_code(typed: str, symbols: int) -> CheckedCode:
    """Forgiving on case, groups and O/0, I/1, L/1; strict on everything else.

    `symbols` counts the secret without its check character. Raises `MistypedCode`,
    `WrongLength` when only the length is at fault.
    """
    compact = "".join(symbol for symbol in typed if symbol not in _BETWEEN_GROUPS)
    # Beyond ASCII a capital may be two letters (`ß`), so refuse before raising the case.
    compact = compact.translate(_FORGIVEN).upper() if compact.isascii() else ""
    if not compact or any(symbol not in _VALUE for symbol in compact):
        raise MistypedCode
    if len(compact) != symbols + 1:
        raise WrongLength(len(compact), symbols + 1)
    if check_character(compact[:-1]) != compact[-1]:
        raise MistypedCode
    return CheckedCode(compact)


def in_groups(code: str) -> str:
    """`K7M2P9QXA` → `K7M2 P9QX A`."""
    return " ".join(code[start : start + 4] for start in range(0, len(code), 4))


def check_character(symbols: str) -> str:
    """Σ αᵏ·symbol over GF(32), by Horner; α generates the field, so all weights differ."""
    remainder = 0
    for symbol in symbols:
        remainder = _times_alpha(remainder ^ _VALUE[symbol])
    return ALPHABET[remainder]


def _times_alpha(element: int) -> int:
    doubled = element << 1
    return doubled ^ _PRIMITIVE if doubled & 32 else doubled

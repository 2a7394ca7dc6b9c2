"""SIREN and SIRET: the legal unit and its establishments."""

import re
from typing import NewType

from libs.common.values.invalid import InvalidValue
from libs.common.values.sentence import Sentence

Siren = NewType("Siren", str)
"""A checked 9-digit legal unit number; `parse_siren` is the only door."""

Siret = NewType("Siret", str)
"""A checked 14-digit establishment number; `parse_siret` is the only door."""

LA_POSTE = "356000000"
LA_POSTE_SITE = re.compile("356000000(?!00048)")
_FOURTEEN_DIGITS = re.compile("[0-9]{14}")
_NINE_DIGITS = re.compile("[0-9]{9}")
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


class InvalidSiren(InvalidValue):
    reason = Sentence("Ce numéro SIREN n'est pas valable : il compte 9 chiffres, dont une clé de contrôle.")


class InvalidSiret(InvalidValue):
    reason = Sentence("Ce numéro SIRET n'est pas valable : il compte 14 chiffres, dont une clé de contrôle.")


def parse_siren(typed: str) -> Siren:
    digits = "".join(typed.split())
    if not _NINE_DIGITS.fullmatch(digits) or not _passes_luhn(digits):
        raise InvalidSiren
    return Siren(digits)


def parse_siret(typed: str) -> Siret:
    digits = "".join(typed.split())
    if not _FOURTEEN_DIGITS.fullmatch(digits) or not _passes_luhn(digits[:9]):
        raise InvalidSiret
    # La Poste's sites, its head office apart, are numbered outside Luhn:
    # their digits sum to a multiple of 5.
    passes = _sums_to_five if LA_POSTE_SITE.match(digits) else _passes_luhn
    if not passes(digits):
        raise InvalidSiret
    return Siret(digits)


def siren_of(siret: Siret) -> Siren:
    """The legal unit of an establishment: the first nine digits, already checked."""
    return Siren(siret[:9])


def luhn_digit(digits: str) -> str:
    """The digit that, appended to `digits`, makes them pass Luhn."""
    return str(-_luhn_sum(digits + "0") % 10)


def format_siren(siren: str) -> str:
    """`732829320` → `732 829 320`, with no-break spaces."""
    return "\u00a0".join((siren[:3], siren[3:6], siren[6:]))


def format_siret(siret: str) -> str:
    """`73282932000074` → `732 829 320 00074`, with no-break spaces."""
    return f"{format_siren(siret[:9])}\u00a0{siret[9:]}"


def _passes_luhn(digits: str) -> bool:
    return _luhn_sum(digits) % 10 == 0


def _luhn_sum(digits: str) -> int:
    backwards = digits[::-1]
    return sum(map(int, backwards[::2])) + sum(_DOUBLED[int(digit)] for digit in backwards[1::2])


def _sums_to_five(digits: str) -> bool:
    return sum(map(int, digits)) % 5 == 0

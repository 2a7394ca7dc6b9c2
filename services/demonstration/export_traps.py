"""The ways a row of an export goes wrong, each with the verdict it deserves."""

from collections.abc import Callable
from typing import NamedTuple

from libs.common.values.siret import luhn_digit
from services.demonstration import invented_names as names


class Planted(NamedTuple):
    """One row spoilt on purpose: `outcome` is refused or corrected."""

    file: str
    line: int
    column: str
    outcome: str
    code: str


class Trap(NamedTuple):
    """What is done to a row, and what must be said of it."""

    column: str
    outcome: str
    code: str
    spoil: Callable[[str], str]


def spoil(columns: list[str], fields: list[str], trap: str) -> list[tuple[str, str, str]]:
    """Change `fields` in place; the (column, outcome, code) that an importer must answer."""
    if trap == "too_few":
        del fields[-2:]
        return [("", "refused", "field_count")]
    spoilt = [step for step in TRAPS[trap] if step.column in columns]
    for step in spoilt:
        place = columns.index(step.column)
        fields[place] = step.spoil(fields[place])
    return [(step.column, step.outcome, step.code) for step in spoilt]


def _wrong_last_digit(digits: str) -> str:
    return digits[:-1] + str((int(digits[-1]) + 1) % 10)


def _without_zeros(digits: str) -> str:
    return digits.lstrip("0")


def _short_year(day: str) -> str:
    return day[:6] + day[8:]


def _spaced(siret: str) -> str:
    return f"{siret[:3]} {siret[3:6]} {siret[6:9]} {siret[9:]}"


def _with_a_third_decimal(amount: str) -> str:
    return f"{amount},5"


def _without_at_sign(email: str) -> str:
    return email.replace("@", " chez ")


def _always(value: str) -> Callable[[str], str]:
    return lambda _: value


def _same(value: str) -> str:
    return value


_SOMEONE_ELSE = "95270193" + luhn_digit("95270193")
_SIRET_OF_SOMEONE_ELSE = _SOMEONE_ELSE + "0001" + luhn_digit(_SOMEONE_ELSE + "0001")

TRAPS: dict[str, tuple[Trap, ...]] = {
    # Refused.
    "spreadsheet": (Trap("SIRET", "refused", "spreadsheet", _always("7,32E+13")),),
    "bad_key": (Trap("SIREN", "refused", "bad_key", _wrong_last_digit),),
    "other_siren": (Trap("SIRET", "refused", "other_siren", _always(_SIRET_OF_SOMEONE_ELSE)),),
    "no_such_day": (
        Trap("DATE_ADHESION", "refused", "no_such_day", _always("31/02/2019")),
        Trap("DATE_OUVERTURE", "refused", "no_such_day", _always("29/02/2019")),
        Trap("DATE_LIMITE", "refused", "no_such_day", _always("31/04/2020")),
    ),
    "not_a_date": (Trap("DATE_AUTORISATION", "refused", "not_a_date", _always("inconnue")),),
    "no_name": (
        Trap("RAISON_SOCIALE", "refused", "missing", _always("")),
        Trap("NOM", "refused", "missing", _always("")),
    ),
    "no_town": (Trap("VILLE", "refused", "missing", _always("")),),
    "second": (Trap("NUM_ADHERENT", "refused", "already_seen", _same),),
    "bad_key_cabinet": (Trap("SIREN_CABINET", "refused", "bad_key", _wrong_last_digit),),
    "not_a_period": (Trap("PERIODE", "refused", "not_a_period", _always("2020-T7")),),
    "not_an_amount": (Trap("MONTANT", "refused", "not_an_amount", _with_a_third_decimal),),
    "unknown_code": (Trap("NATURE", "refused", "unknown_code", _always("XYZ")),),
    # Mended, and told.
    "bad_email": (Trap("COURRIEL", "corrected", "bad_email", _without_at_sign),),
    "long_line": (Trap("ADRESSE_1", "corrected", "long_line", _always(names.LONG_STREET)),),
    "spaced": (Trap("SIRET", "corrected", "separators", _spaced),),
    "lost_zeros": (
        Trap("SIREN", "corrected", "lost_zeros", _without_zeros),
        Trap("SIRET", "corrected", "lost_zeros", _without_zeros),
    ),
    "iban": (Trap("IBAN", "corrected", "bad_iban", _wrong_last_digit),),
    "short_year": (
        Trap("DATE_ADHESION", "corrected", "short_year", _short_year),
        Trap("DATE_VALEUR", "corrected", "short_year", _short_year),
    ),
    # The first of two lines of one number is sound.
    "doubled": (),
}

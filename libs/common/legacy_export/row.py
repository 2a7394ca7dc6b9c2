"""One row under examination: fields by name, slips mended and noted, faults that refuse it."""

import re
import unicodedata
from datetime import date
from typing import NoReturn

from libs.common.legacy_export.profile import Profile, RawRow
from libs.common.legacy_export.verdict import Outcome, RowRefused, Verdict
from libs.common.values.invalid import InvalidValue
from libs.common.values.money import parse_euros
from libs.common.values.siret import Siren, Siret, parse_siren, parse_siret

_SCIENTIFIC = re.compile(r"[0-9][.,]?[0-9]*E\+?[0-9]+", re.IGNORECASE)
_DAY_FIRST = re.compile(r"([0-9]{2})[/.-]?([0-9]{2})[/.-]?([0-9]{4}|[0-9]{2})")
_PERIOD = re.compile(r"[0-9]{4}(-(0[1-9]|1[0-2]|T[1-4]))?")
_UNREADABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffd]")
PIVOT = 50
"""Years written with two digits: 00 to 49 are of this century."""


class Row:
    """The fields of one line under their columns' names; `verdicts` gathers what was mended."""

    __slots__ = ("_fields", "file", "line", "verdicts")

    def __init__(self, profile: Profile, raw: RawRow) -> None:
        """Raises `RowRefused` when the line does not have the header's number of fields."""
        self.file = profile.file
        self.line = raw.line
        self.verdicts: list[Verdict] = []
        if len(raw.fields) != len(profile.columns):
            raise RowRefused(
                "",
                "field_count",
                f"La ligne compte {len(raw.fields)} champs, l'en-tête {len(profile.columns)}.",
            )
        self._fields = dict(zip(profile.columns, raw.fields, strict=True))

    def corrected(self, column: str, code: str, reason: str) -> None:
        self.verdicts.append(Verdict(self.file, self.line, column, Outcome.CORRECTED, code, reason))

    def refuse(self, column: str, code: str, reason: str) -> NoReturn:
        raise RowRefused(column, code, reason)

    def text(self, column: str, *, required: bool = False) -> str:
        value = self._fields.get(column, "")
        if _UNREADABLE.search(value):
            self.refuse(column, "unreadable", "Le champ contient un caractère illisible.")
        if required and not value:
            self.refuse(column, "missing", "Le champ est vide, il est obligatoire.")
        return " ".join(value.split())

    def siren(self, column: str) -> Siren | None:
        digits = self._digits(column, 9)
        try:
            return parse_siren(digits) if digits else None
        except InvalidValue:
            self.refuse(column, "bad_key", "La clé de contrôle du SIREN est fausse.")

    def siret(self, column: str) -> Siret | None:
        digits = self._digits(column, 14)
        try:
            return parse_siret(digits) if digits else None
        except InvalidValue:
            self.refuse(column, "bad_key", "La clé de contrôle du SIRET est fausse.")

    def _digits(self, column: str, length: int) -> str:
        typed = self.text(column)
        if _SCIENTIFIC.fullmatch(typed):
            self.refuse(column, "spreadsheet", "Un tableur a remplacé le numéro par un nombre arrondi.")
        digits = re.sub(r"[ .\u00a0-]", "", typed)
        if not digits:
            return ""
        if not (digits.isascii() and digits.isdigit()) or len(digits) > length:
            self.refuse(column, "not_a_number", f"Le numéro doit compter {length} chiffres.")
        # Spreadsheets drop leading zeros; the key then says whether we found them again.
        if len(digits) < length:
            if length - len(digits) > 3:
                self.refuse(column, "not_a_number", f"Le numéro doit compter {length} chiffres.")
            self.corrected(column, "lost_zeros", "Les zéros de tête perdus ont été rétablis.")
            return digits.zfill(length)
        if digits != typed:
            self.corrected(column, "separators", "Les espaces ou points du numéro ont été retirés.")
        return digits

    def day(self, column: str, *, required: bool = False) -> date | None:
        """A date, day first."""
        typed = self.text(column, required=required)
        if not typed:
            return None
        match = _DAY_FIRST.fullmatch(typed)
        if match is None:
            self.refuse(column, "not_a_date", "La date doit s'écrire jour/mois/année.")
        day, month, year = (int(part) for part in match.groups())
        if len(match[3]) == 2:
            year += 2000 if year < PIVOT else 1900
            self.corrected(column, "short_year", "Le siècle de la date a été rétabli.")
        try:
            return date(year, month, day)
        except ValueError:
            self.refuse(column, "no_such_day", "Ce jour n'existe pas au calendrier.")

    def the_day(self, column: str) -> date:
        """A date that must be there."""
        day = self.day(column, required=True)
        assert day is not None
        return day

    def amount_cents(self, column: str) -> int:
        try:
            return parse_euros(self.text(column, required=True))
        except InvalidValue:
            self.refuse(column, "not_an_amount", "Le montant doit s'écrire comme 1 234,56.")

    def period(self, column: str) -> str:
        period = self.text(column, required=True).upper()
        if not _PERIOD.fullmatch(period):
            self.refuse(column, "not_a_period", "La période doit s'écrire 2020, 2020-T4 ou 2020-11.")
        return period

    def one_of(self, column: str, meanings: dict[str, str]) -> str:
        """The meaning of a coded field. Codes are compared in capitals."""
        typed = self.text(column).upper()
        if typed not in meanings:
            self.refuse(
                column,
                "unknown_code",
                f"Code inconnu ; codes attendus : {', '.join(filter(None, meanings))}.",
            )
        return meanings[typed]


def without_accents(text: str) -> str:
    """`Œuvre à Sète` → `OEuvre a Sete`, for the last lines of an address."""
    for ligature, letters in (("œ", "oe"), ("Œ", "OE"), ("æ", "ae"), ("Æ", "AE")):
        text = text.replace(ligature, letters)
    return "".join(
        symbol for symbol in unicodedata.normalize("NFD", text) if not unicodedata.combining(symbol)
    )

"""Addresses after NF Z 10-011: at most six lines of 38 characters, the name being the first."""

import re
import textwrap

from libs.common.legacy_export.row import Row, without_accents

LINE = 38
LINES_BELOW_THE_NAME = 5
_POSTCODE = re.compile("[0-9]{5}")
_PUNCTUATION = re.compile(r"[,;:.]+")


def postal_address(row: Row) -> list[str]:
    """The lines below the name, from ADRESSE_1 … 3, CODE_POSTAL, VILLE and PAYS.

    A line over 38 characters is cut between words, which is noted; an address that
    then needs a seventh line refuses the row.
    """
    lines: list[str] = []
    for column in ("ADRESSE_1", "ADRESSE_2", "ADRESSE_3"):
        text = " ".join(_PUNCTUATION.sub(" ", row.text(column)).split())
        if len(text) > LINE:
            row.corrected(column, "long_line", "La ligne de plus de 38 caractères a été coupée en deux.")
        lines += textwrap.wrap(text, LINE, break_long_words=True) if text else []
    country = _capitals(row.text("PAYS"))
    is_foreign = country not in ("", "FRANCE")
    postcode, town = row.text("CODE_POSTAL"), _capitals(row.text("VILLE", required=True))
    if not is_foreign:
        postcode = _french_postcode(row, postcode)
    last = f"{postcode} {town}".strip()
    if len(last) > LINE:
        row.refuse("VILLE", "long_line", "Le code postal et la ville dépassent 38 caractères.")
    lines.append(last)
    if is_foreign:
        lines.append(country)
    if len(lines) > LINES_BELOW_THE_NAME:
        row.refuse("ADRESSE_1", "address_too_long", "L'adresse ne tient pas en six lignes de 38 caractères.")
    return lines


def _french_postcode(row: Row, typed: str) -> str:
    postcode = typed.replace(" ", "")
    if len(postcode) == 4 and postcode.isdigit():
        row.corrected("CODE_POSTAL", "lost_zeros", "Les zéros de tête perdus ont été rétablis.")
        postcode = f"0{postcode}"
    if not _POSTCODE.fullmatch(postcode):
        row.refuse("CODE_POSTAL", "not_a_postcode", "Le code postal doit compter 5 chiffres.")
    return postcode


def _capitals(text: str) -> str:
    return " ".join(_PUNCTUATION.sub(" ", without_accents(text)).upper().split())

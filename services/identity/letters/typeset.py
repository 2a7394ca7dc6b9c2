"""A lot of letters as one tagged PDF (PDF/UA-1), by Typst. Data go in as data, never as markup."""

import threading
from datetime import date
from functools import cache
from pathlib import Path

import msgspec
import pypdfium2 as pdfium
import typst

from libs.common.pages.formats import day as day_in_french
from libs.common.values.crockford import in_groups
from services.identity.caisses.caisse import Caisse
from services.identity.letters.data_matrix import data_matrix
from services.identity.letters.paper_secret import Half
from services.identity.letters.recipient import Recipient, envelope_lines

TEMPLATE = Path(__file__).with_name("letter.typ")
DEFAULT_COLOUR = "#1d4f91"
_one_at_a_time = threading.Lock()


class LetterTooLong(Exception):
    """What a caisse prints of itself does not fit on one sheet: nothing was made."""


class Wording(msgspec.Struct, frozen=True):
    """What one of the two letters says; neither says what the other contains."""

    subject: str
    introduction: str
    label: str
    first_steps: tuple[str, ...]


WORDINGS = {
    Half.IDENTIFIANT: Wording(
        "Votre identifiant pour ouvrir votre espace sécurisé",
        "Votre caisse ouvre votre espace sécurisé sur internet. Deux courriers sont nécessaires pour y entrer la "
        "première fois, envoyés à deux dates différentes. Voici le premier : il contient votre identifiant.",
        "Votre identifiant",
        ("Gardez ce courrier en lieu sûr et attendez le second, qui arrivera dans une autre enveloppe.",),
    ),
    Half.CODE_CONFIDENTIEL: Wording(
        "Votre code confidentiel pour ouvrir votre espace sécurisé",
        "Votre caisse ouvre votre espace sécurisé sur internet. Deux courriers sont nécessaires pour y entrer la "
        "première fois. Voici le second : il contient votre code confidentiel.",
        "Votre code confidentiel",
        (
            "Prenez ce courrier et le premier, reçu il y a quelques jours. Si le premier manque, appelez votre caisse.",
        ),
    ),
}


class Letter(msgspec.Struct, frozen=True):
    """One sheet: whom it goes to, and the half it carries."""

    recipient: Recipient
    code: str


def mark_of(lot: str, page: int) -> str:
    """What the DataMatrix says: `lot_01J…/12`."""
    return f"{lot}/{page}"


def typeset(
    caisse: Caisse,
    half: Half,
    lot: str,
    letters: list[Letter],
    *,
    written_on: date,
    valid_through: date,
    address: str,
) -> bytes:
    """The PDF of a lot, one page a letter in their order. Same arguments, same pages.

    `address` is what one types in a browser; `valid_through` the last day of use.
    """
    wording = WORDINGS[half]
    matrices = [data_matrix(mark_of(lot, page)) for page in range(1, len(letters) + 1)]
    data = {
        "title": f"{wording.subject} ({lot})",
        "colour": caisse.settings.colour or DEFAULT_COLOUR,
        "caisse": {
            "name": caisse.name,
            "address": caisse.address,
            "phone": caisse.phone,
            "email": caisse.email,
            "website": caisse.website,
            "hours": caisse.settings.desk_hours,
        },
        "subject": wording.subject,
        "introduction": wording.introduction,
        "label": wording.label,
        "steps": wording.first_steps,
        "written_on": f"Le {day_in_french(written_on)}",
        "valid_through": day_in_french(valid_through),
        "address": address,
        "matrix_width": matrices[0].width,
        "letters": [
            {
                "recipient": envelope_lines(letter.recipient),
                "adherent_number": letter.recipient.adherent_number,
                "siret": letter.recipient.siret_in_groups,
                "code": in_groups(letter.code),
                "mark": mark_of(lot, page),
                "matrix": matrix.pixels,
            }
            for page, (letter, matrix) in enumerate(zip(letters, matrices, strict=True), start=1)
        ],
    }
    if any(matrix.width != data["matrix_width"] for matrix in matrices):
        raise ValueError("the marks of one lot are of one size")
    # The compiler keeps its sources and fonts, and pdfium is single-threaded: one lot at a time.
    with _one_at_a_time:
        pdf = _compiler().compile(
            format="pdf",
            sys_inputs={"letters": msgspec.json.encode(data).decode()},
            pdf_standards=["ua-1"],
        )
        assert isinstance(pdf, bytes)
        if (pages := _pages(pdf)) != len(letters):
            raise LetterTooLong(f"{len(letters)} letters took {pages} pages")
    return pdf


def _pages(pdf: bytes) -> int:
    document = pdfium.PdfDocument(pdf)
    try:
        return len(document)
    finally:
        document.close()


@cache
def _compiler() -> typst.Compiler:
    # Embedded fonts alone: the same letters on every machine.
    return typst.Compiler(input=TEMPLATE, root=TEMPLATE.parent, ignore_system_fonts=True)

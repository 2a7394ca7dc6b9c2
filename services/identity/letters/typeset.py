"""A lot of letters as one tagged PDF (PDF/UA-1), by Typst. Data go in as data, never as markup."""

import unicodedata
from datetime import date

import msgspec

from libs.common.pages.formats import day as day_in_french
from libs.common.values.crockford import in_groups
from services.identity.caisses.caisse import Caisse
from services.identity.letters.compile_letters import compile_letters
from services.identity.letters.data_matrix import data_matrix
from services.identity.letters.paper_secret import Half
from services.identity.letters.recipient import Recipient, envelope_lines

DEFAULT_COLOUR = "#1d4f91"


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


async def typeset(
    caisse: Caisse,
    half: Half,
    lot: str,
    letters: list[Letter],
    *,
    written_on: date,
    valid_through: date,
    address: str,
) -> bytes:
    """The PDF of a lot, one page a letter in their order. Raises `LetterTooLong`.

    `address` is what one types in a browser; `valid_through` the last day of use.
    """
    wording = WORDINGS[half]
    matrices = [data_matrix(mark_of(lot, page)) for page in range(1, len(letters) + 1)]
    data = {
        "title": f"{wording.subject} ({lot})",
        "colour": caisse.settings.colour or DEFAULT_COLOUR,
        "caisse": {
            "name": caisse.name,
            "address": _under_the_name(caisse),
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
    return await compile_letters(msgspec.json.encode(data), len(letters))


def _under_the_name(caisse: Caisse) -> list[str]:
    """The address of the letterhead. Written for the post, it begins with the name in capitals."""
    first, rest = caisse.address[:1], caisse.address[1:]
    return rest if first and _bare(first[0]) == _bare(caisse.name) else caisse.address


def _bare(text: str) -> str:
    """Letters and digits alone, without accents or capitals."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(symbol for symbol in decomposed if symbol.isalnum())

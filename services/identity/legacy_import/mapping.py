"""From the columns of the former system to our words, one row at a time."""

from datetime import date

import msgspec

from libs.common.legacy_export.postal_address import postal_address
from libs.common.legacy_export.row import Row
from libs.common.values.email import parse_email
from libs.common.values.iban import parse_iban
from libs.common.values.invalid import InvalidValue

ADHERENTS = "adherents.csv"
ESTABLISHMENTS = "establishments.csv"
CONTACTS = "contacts.csv"
AUTHORISATIONS = "authorisations.csv"

REQUIRED: dict[str, tuple[str, ...]] = {
    ADHERENTS: ("NUM_ADHERENT", "SIREN", "SIRET", "RAISON_SOCIALE", "ADRESSE_1", "CODE_POSTAL", "VILLE"),
    ESTABLISHMENTS: ("NUM_ADHERENT", "SIRET", "ADRESSE_1", "CODE_POSTAL", "VILLE", "SIEGE"),
    CONTACTS: ("NUM_ADHERENT", "NOM"),
    AUTHORISATIONS: ("NUM_ADHERENT", "SIREN_CABINET", "NOM_CABINET"),
}
LONGEST_NAME = 120


class AdherentRow(msgspec.Struct, frozen=True, array_like=True):
    """A member firm as the export tells it."""

    adherent_number: str
    siren: str | None
    siret: str | None
    legal_name: str
    address: list[str]
    state: str


class EstablishmentRow(msgspec.Struct, frozen=True, array_like=True):
    adherent_number: str
    siret: str | None
    name: str
    address: list[str]
    is_head_office: bool
    opened_on: date | None
    closed_on: date | None

    @property
    def key(self) -> str:
        """What makes it the same establishment in two exports: its SIRET, or where it is."""
        return self.siret or "\n".join((self.name, *self.address))


class ContactRow(msgspec.Struct, frozen=True, array_like=True):
    adherent_number: str
    full_name: str
    role: str
    email: str
    phone: str

    @property
    def key(self) -> str:
        return self.full_name


class AuthorisationRow(msgspec.Struct, frozen=True, array_like=True):
    adherent_number: str
    cabinet_siren: str
    cabinet_name: str
    granted_on: date | None
    source_line: int

    @property
    def key(self) -> str:
        return self.cabinet_siren


def adherent_number(row: Row) -> str:
    number = row.text("NUM_ADHERENT", required=True).upper()
    if len(number) > 20:
        row.refuse("NUM_ADHERENT", "too_long", "Le numéro d'adhérent dépasse 20 caractères.")
    return number


def map_adherent(row: Row) -> AdherentRow:
    number = adherent_number(row)
    siren, siret = row.siren("SIREN"), row.siret("SIRET")
    if siret and siren and not siret.startswith(siren):
        row.refuse("SIRET", "other_siren", "Le SIRET n'appartient pas au SIREN de la ligne.")
    is_foreign = row.text("PAYS").upper() not in ("", "FRANCE")
    # A foreign firm that posts workers has no SIREN: its adhérent number identifies it.
    if siren is None and siret is None and not is_foreign:
        row.refuse("SIREN", "missing", "Le champ est vide, il est obligatoire pour une entreprise française.")
    name = row.text("RAISON_SOCIALE", required=True)
    if len(name) > LONGEST_NAME:
        row.refuse("RAISON_SOCIALE", "too_long", f"La raison sociale dépasse {LONGEST_NAME} caractères.")
    row.day("DATE_ADHESION")
    left_on = row.day("DATE_RADIATION")
    _look_at_iban(row)
    return AdherentRow(
        number,
        siren or (siret[:9] if siret else None),
        siret,
        name,
        postal_address(row),
        "struck_off" if left_on else "member",
    )


def map_establishment(row: Row) -> EstablishmentRow:
    return EstablishmentRow(
        adherent_number(row),
        row.siret("SIRET"),
        row.text("ENSEIGNE"),
        postal_address(row),
        row.one_of("SIEGE", {"O": "yes", "OUI": "yes", "1": "yes", "N": "", "NON": "", "0": "", "": ""})
        == "yes",
        row.day("DATE_OUVERTURE"),
        row.day("DATE_FERMETURE"),
    )


def map_contact(row: Row) -> ContactRow:
    number = adherent_number(row)
    full_name = f"{row.text('PRENOM')} {row.text('NOM', required=True)}".strip()
    return ContactRow(number, full_name, row.text("FONCTION"), _email(row), row.text("TELEPHONE"))


def map_authorisation(row: Row) -> AuthorisationRow:
    number = adherent_number(row)
    siren = row.siren("SIREN_CABINET")
    if siren is None:
        row.refuse("SIREN_CABINET", "missing", "Le champ est vide, il est obligatoire.")
    return AuthorisationRow(
        number, siren, row.text("NOM_CABINET", required=True), row.day("DATE_AUTORISATION"), row.line
    )


def _email(row: Row) -> str:
    """The address if it is one. Nobody is lost for a slip in it: it proves nothing anyway."""
    typed = row.text("COURRIEL")
    try:
        return parse_email(typed) if typed else ""
    except InvalidValue:
        row.corrected(
            "COURRIEL", "bad_email", "L'adresse électronique est mal formée : elle est laissée de côté."
        )
        return ""


def _look_at_iban(row: Row) -> None:
    """Debit mandates are signed anew, so no IBAN is kept; a wrong one is worth telling."""
    typed = row.text("IBAN")
    try:
        if typed:
            parse_iban(typed)
    except InvalidValue:
        row.corrected("IBAN", "bad_iban", "La clé de l'IBAN est fausse : il est laissé de côté.")

"""What the services tell, in the shape the pages read. Fields that a page can do without have defaults."""

from datetime import date, datetime
from typing import Any, TypeVar, cast

import msgspec
from msgspec import Struct

T = TypeVar("T")


ACTS = {
    "attestation.issued": "Attestation délivrée",
    "attestation.refused": "Attestation refusée",
    "attestation.requested": "Attestation demandée",
    "attestation.withdrawn": "Attestation retirée",
    "attestation.read": "Attestations consultées",
    "attestation.downloaded": "Attestation téléchargée",
    "attestation.checked": "Attestation vérifiée sur la page publique",
    "standing.read": "Situation consultée",
    "member_file.read": "Dossier consulté",
    "statements.read": "Relevés consultés",
    "declaration.submitted": "Déclaration déposée",
}
"""What each act is called on the page; English in the catalogue."""


REASONS = {
    "struck_off": "Entreprise radiée",
    "declaration_missing": "Déclaration manquante",
    "statement_unpaid": "Paiement en retard",
    "statement_in_payment_plan": "Échéancier en cours",
    "statement_in_litigation": "Paiement contesté",
}
"""What each reason against a firm is called."""


FAMILIES = {
    "contributions": "Déclarations et cotisations",
    "time_off": "Congés et intempéries",
}
"""What each family of delegations is about. A cabinet may hold one of each, for the same days."""

IN_HAND = frozenset({"requested", "offered", "active", "suspended", "legacy_lapsed"})
"""The states that somebody may still answer, use or renew; a delegation in any other is over."""


class Establishment(Struct, frozen=True):
    """A place of work."""

    id: str = ""
    siret: str | None = None
    name: str = ""
    address: list[str] = []
    is_head_office: bool = False
    closed_on: date | None = None


class MemberFile(Struct, frozen=True):
    """The firm, as the adherent service knows it."""

    adherent_number: str
    legal_name: str
    siren: str | None = None
    siret: str | None = None
    address: list[str] = []
    state: str = "member"
    establishments: list[Establishment] = []


class Reason(Struct, frozen=True):
    """One thing that keeps the firm from being up to date; `remedy` says what mends it."""

    code: str
    remedy: str
    period: str | None = None
    establishment: str | None = None
    amount_cents: int | None = None
    due_on: date | None = None

    @property
    def title(self) -> str:
        """The reason in three words."""
        return REASONS.get(self.code, "Point à régulariser")


class Standing(Struct, frozen=True):
    """Whether nothing due is missing, at one instant, over the whole legal unit."""

    is_up_to_date: bool
    judged_at: datetime
    siren: str | None = None
    reasons: list[Reason] = []


class Statement(Struct, frozen=True):
    """What is or was owed for one period."""

    period: str
    amount_cents: int
    due_on: date
    paid_cents: int = 0
    kind: str = ""

    @property
    def rest_cents(self) -> int:
        return max(0, self.amount_cents - self.paid_cents)


class Attestation(Struct, frozen=True):
    """An attestation that was issued."""

    id: str
    number: str
    issued_at: datetime
    kind: str = "up_to_date"
    state: str = "valid"
    verification_code: str = ""
    verification_url: str = ""


class Act(Struct, frozen=True):
    """One line of "Qui a fait quoi pour mon entreprise"."""

    at: datetime
    action: str
    person: str | None = None
    machine: str | None = None
    cabinet: str | None = None
    detail: str = ""

    @property
    def title(self) -> str:
        """The act in French, from its name; a name we do not know yet still reads as an act."""
        return ACTS.get(self.action, "Acte enregistré")

    @property
    def is_public(self) -> bool:
        """Whether anybody may do this, without an account: nobody's name stands behind it."""
        return self.action == "attestation.checked"


def read_as(kind: type[T], told: Any) -> T | None:
    """What a service told as `kind`; `None` when it told nothing (it was away, or had no right to)."""
    return None if told is None else msgspec.convert(told, kind, strict=False)


def read_list(kind: type[T], told: Any, name: str) -> list[T] | None:
    """A list told bare, or under `name`; `None` when nothing was told."""
    if told is None:
        return None
    rows = cast(list[Any], told[name] if isinstance(told, dict) else told)
    return [msgspec.convert(row, kind, strict=False) for row in rows]


class Delegation(Struct, frozen=True):
    """One mandate, as identity lists it to the firm or to the cabinet."""

    id: str
    state: str
    cabinet_name: str = ""
    legal_name: str = ""
    siren: str | None = None
    adherent_id: str = ""
    adherent_number: str = ""
    family: str = ""
    role: str = ""
    scopes: list[str] = []
    ends_on: date | None = None
    answer_by: datetime | None = None
    at: datetime | None = None
    """Since when it is in its state."""

    @property
    def about(self) -> str:
        """What it is about, in a few words; empty for a family we do not know yet."""
        return FAMILIES.get(self.family, "")

    @property
    def is_over(self) -> bool:
        return self.state not in IN_HAND


class OwnAccount(Struct, frozen=True):
    """One firm that the person may enter."""

    adherent_id: str
    legal_name: str = ""
    siren: str | None = None
    is_administrator: bool = False


class OwnCabinet(Struct, frozen=True):
    """One cabinet that the person works for."""

    cabinet_id: str
    name: str = ""
    role: str = "member"


class Me(Struct, frozen=True):
    """Who the person is at this caisse."""

    accounts: list[OwnAccount] = []
    cabinets: list[OwnCabinet] = []
    adherent: str | None = None
    """The firm that the token is for, when several could be."""

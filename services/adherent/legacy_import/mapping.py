"""Balances and declarations of a former system, in our words."""

from collections.abc import Callable
from datetime import date
from typing import NamedTuple

from libs.common.legacy_export.row import Row

STATEMENTS = "statements.csv"
PAYMENTS = "payments.csv"
DECLARATIONS = "declarations.csv"

REQUIRED: dict[str, tuple[str, ...]] = {
    STATEMENTS: ("NUM_ADHERENT", "PERIODE", "NATURE", "MONTANT", "DATE_EXIGIBILITE"),
    PAYMENTS: ("REFERENCE", "NUM_ADHERENT", "PERIODE", "MONTANT", "DATE_VALEUR"),
    DECLARATIONS: ("NUM_ADHERENT", "PERIODE", "NATURE", "DATE_LIMITE", "DATE_DEPOT"),
}
STATEMENT_KINDS = {
    "COTIS": "contributions", "CONGES": "leave", "INTEMP": "weather", "MAJO": "surcharge", "SOLDE": "balance",
}  # fmt: skip
COLLECTIONS = {"": "called", "ECHEANCIER": "payment_plan", "CONTENTIEUX": "litigation"}
PAYMENT_STATES = {"": "settled", "R": "settled", "I": "rejected"}
"""R: *recouvré*; I: *impayé*."""
DECLARATION_KINDS = {"DSN": "monthly_filing", "TRIM": "quarterly_filing", "DNA": "annual_roll"}


class StatementRow(NamedTuple):
    adherent_number: str
    period: str
    kind: str
    establishment_siret: str | None
    amount_cents: int
    due_on: date
    collection: str

    @property
    def key(self) -> tuple[str | None, ...]:
        return (self.adherent_number, self.period, self.kind, self.establishment_siret)


class PaymentRow(NamedTuple):
    reference: str
    adherent_number: str
    period: str
    kind: str
    amount_cents: int
    received_on: date
    state: str

    @property
    def key(self) -> tuple[str | None, ...]:
        return (self.reference,)


class DeclarationRow(NamedTuple):
    adherent_number: str
    period: str
    kind: str
    establishment_siret: str | None
    due_on: date
    filed_on: date | None

    @property
    def key(self) -> tuple[str | None, ...]:
        return (self.adherent_number, self.period, self.kind, self.establishment_siret)


BalanceRow = StatementRow | PaymentRow | DeclarationRow


def adherent_number(row: Row) -> str:
    number = row.text("NUM_ADHERENT", required=True).upper()
    if len(number) > 20:
        row.refuse("NUM_ADHERENT", "too_long", "Le numéro d'adhérent dépasse 20 caractères.")
    return number


def map_statement(row: Row) -> StatementRow:
    return StatementRow(
        adherent_number(row),
        row.period("PERIODE"),
        row.one_of("NATURE", STATEMENT_KINDS),
        row.siret("SIRET"),
        row.amount_cents("MONTANT"),
        row.the_day("DATE_EXIGIBILITE"),
        row.one_of("RECOUVREMENT", COLLECTIONS),
    )


def map_payment(row: Row) -> PaymentRow:
    reference = row.text("REFERENCE", required=True)
    if len(reference) > 40:
        row.refuse("REFERENCE", "too_long", "La référence dépasse 40 caractères.")
    amount_cents = row.amount_cents("MONTANT")
    if amount_cents <= 0:
        row.refuse("MONTANT", "not_an_amount", "Un paiement est un montant positif.")
    return PaymentRow(
        reference,
        adherent_number(row),
        row.period("PERIODE"),
        row.one_of("NATURE", {**STATEMENT_KINDS, "": "contributions"}),
        amount_cents,
        row.the_day("DATE_VALEUR"),
        row.one_of("ETAT", PAYMENT_STATES),
    )


def map_declaration(row: Row) -> DeclarationRow:
    return DeclarationRow(
        adherent_number(row),
        row.period("PERIODE"),
        row.one_of("NATURE", DECLARATION_KINDS),
        row.siret("SIRET"),
        row.the_day("DATE_LIMITE"),
        row.day("DATE_DEPOT"),
    )


MAPPINGS: dict[str, Callable[[Row], BalanceRow]] = {
    STATEMENTS: map_statement,
    PAYMENTS: map_payment,
    DECLARATIONS: map_declaration,
}

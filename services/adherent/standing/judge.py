"""Is this firm up to date? Judged on the whole legal unit, at one instant, with reasons."""

from datetime import date, datetime
from typing import Literal
from uuid import UUID

import msgspec

from libs.common.database.transaction import Tx
from libs.common.pages.formats import PARIS, day, month, siret
from libs.common.refusals import NotFound, Unavailable
from libs.common.values.money import format_euros
from services.adherent.standing import store
from services.adherent.standing.store import DueDeclaration, DueStatement, JudgedMember, StandingInputs

Code = Literal[
    "struck_off",
    "declaration_missing",
    "statement_unpaid",
    "statement_in_payment_plan",
    "statement_in_litigation",
]


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that keeps a firm from being up to date, and what mends it.

    `establishment` is a SIRET, absent when the whole firm is meant; `amount_cents`
    is what remains due; `remedy` is a French sentence for the firm.
    """

    code: Code
    remedy: str
    period: str | None = None
    kind: str | None = None
    establishment: str | None = None
    adherent_number: str | None = None
    amount_cents: int | None = None
    due_on: date | None = None


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """The answer at one instant, with everything it rests on."""

    is_up_to_date: bool
    judged_at: datetime
    as_of: date
    """The day of `judged_at` in Paris: what fell due before it counts."""
    siren: str | None
    member: JudgedMember
    reasons: list[Reason]
    inputs: StandingInputs


class ContributionsUnknown(Unavailable):
    """The caisse's accounts were never loaded, or are half loaded: silence about debts is not their absence."""


async def judge_standing(tx: Tx, member_id: UUID, *, now: datetime) -> Standing:
    """Judge the legal unit of `member_id` as it stands at `now` (domain.md, invariant 1).

    A thing due on a day counts as late from the day after. Raises `NotFound` for
    an unknown member and `ContributionsUnknown` when the accounts were never loaded, or not whole.
    """
    as_of = now.astimezone(PARIS).date()
    inputs = await store.read_inputs(tx, member_id, as_of)
    asked = next((member for member in inputs.members if member.id == member_id), None)
    if asked is None:
        raise NotFound
    if not inputs.contributions_known:
        raise ContributionsUnknown
    reasons = reasons_against(asked, inputs)
    return Standing(
        is_up_to_date=not reasons,
        judged_at=now,
        as_of=as_of,
        siren=asked.siren,
        member=asked,
        reasons=reasons,
        inputs=inputs,
    )


def reasons_against(asked: JudgedMember, inputs: StandingInputs) -> list[Reason]:
    """Every reason, oldest due date first; none means up to date. Pure: rows in, reasons out."""
    reasons: list[Reason] = []
    if asked.state == "struck_off":
        remedy = (
            "Votre entreprise n'est plus adhérente de la caisse. Contactez la caisse si c'est une erreur."
        )
        reasons.append(Reason(code="struck_off", remedy=remedy, adherent_number=asked.adherent_number))
    late = [_missing(row) for row in inputs.declarations if row.filed_on is None]
    late += [_unpaid(row) for row in inputs.statements if row.paid_cents < row.amount_cents]
    return reasons + sorted(
        late, key=lambda reason: (reason.due_on or date.min, reason.code, reason.period or "")
    )


def period_fr(period: str) -> str:
    """`2020-11` → `novembre 2020`, `2020-T4` → `4e trimestre 2020`, `2020` → `l'année 2020`."""
    year, _, part = period.partition("-")
    if not part:
        return f"l'année {year}"
    if part.startswith("T"):
        return f"le {'1er' if part == 'T1' else part[1] + 'e'} trimestre {year}"
    return month(period)


def _missing(row: DueDeclaration) -> Reason:
    where = _where(row.establishment_siret)
    noun = "la déclaration annuelle des salaires" if row.kind == "annual_roll" else "la déclaration"
    return Reason(
        code="declaration_missing",
        remedy=f"Déposez {noun}{_for(row.period)}{where}, attendue pour le {day(row.due_on)}.",
        period=row.period,
        kind=row.kind,
        establishment=row.establishment_siret,
        adherent_number=row.adherent_number,
        due_on=row.due_on,
    )


_WAYS: dict[str, tuple[Code, str]] = {
    "called": (
        "statement_unpaid",
        "Réglez {amount} au titre de {what}{where} : le paiement était dû le {due}.",
    ),
    "payment_plan": (
        "statement_in_payment_plan",
        "Il reste {amount} à régler au titre de {what}{where}. Suivez votre échéancier, "
        "ou demandez à la caisse d'examiner votre situation.",
    ),
    "litigation": (
        "statement_in_litigation",
        "{amount} restent dus au titre de {what}{where} et sont en contentieux. Contactez la caisse.",
    ),
}


def _unpaid(row: DueStatement) -> Reason:
    code, sentence = _WAYS[row.collection]
    missing_cents = row.amount_cents - row.paid_cents
    what = f"{_NOUNS[row.kind]}{_for(row.period)}"
    return Reason(
        code=code,
        remedy=sentence.format(
            amount=format_euros(missing_cents),
            what=what,
            where=_where(row.establishment_siret),
            due=day(row.due_on),
        ),
        period=row.period,
        kind=row.kind,
        establishment=row.establishment_siret,
        adherent_number=row.adherent_number,
        amount_cents=missing_cents,
        due_on=row.due_on,
    )


_NOUNS = {
    "contributions": "l'appel de cotisations",
    "leave": "l'appel de cotisations de congés",
    "weather": "l'appel de cotisations de chômage-intempéries",
    "surcharge": "la majoration de retard",
    "balance": "le solde antérieur",
}


def _for(period: str) -> str:
    said = period_fr(period)
    if said.startswith("le "):
        return f" du {said[3:]}"
    return f" d'{said}" if said[0] in "ao" else f" de {said}"


def _where(establishment_siret: str | None) -> str:
    return f" (établissement {siret(establishment_siret)})" if establishment_siret else ""

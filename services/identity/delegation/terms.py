"""What a firm grants with one gesture: rights by family, places, days, cap and software."""

from collections.abc import Collection, Mapping
from datetime import date, datetime
from typing import Final, NamedTuple

from libs.common.access.rights import (
    BUNDLE_GRANTS,
    DELEGABLE,
    PAYMENT_ORDER,
    Bundle,
    Family,
    Grant,
    allowed_to,
    by_family,
)
from libs.common.refusals import DomainError
from libs.common.values.sentence import Sentence
from services.identity.delegation.mandate import ALL
from services.identity.delegation.term import one_year_from, paris_day

MOST_CHOSEN: Final = 100
"""Establishments that one mandate names: each stands in every token on it, and services read no endless one
(`access_token.TOKEN_LIMIT`).
"""


class InvalidTerms(DomainError):
    """The terms contradict themselves; `errors` maps each field to the sentence that mends it."""

    def __init__(self, errors: Mapping[str, Sentence]) -> None:
        super().__init__(", ".join(errors))
        self.errors = dict(errors)
        self.members = {"errors": {name: str(how) for name, how in self.errors.items()}}


class Terms(NamedTuple):
    """Terms as chosen. `ends_on` is the last day; the cap is per payment order, in cents."""

    grants: Mapping[Family, Grant]
    establishments: tuple[str, ...]
    starts_on: date
    ends_on: date
    amount_cap_cents: int | None = None
    machine: bool = False
    document_categories: tuple[str, ...] = ALL


def default_days(now: datetime) -> tuple[date, date]:
    """From today, for one year."""
    today = paris_day(now)
    return today, one_year_from(today)


def grants_of_bundle(bundle: Bundle) -> Mapping[Family, Grant]:
    return BUNDLE_GRANTS[bundle]


def grants_of_scopes(scopes: Collection[str]) -> Mapping[Family, Grant]:
    """Rights ticked one by one. Raises `InvalidTerms` on none, or on one that is not delegable."""
    if not scopes or not frozenset(scopes) <= DELEGABLE:
        raise InvalidTerms({"scopes": Sentence("Choisissez au moins un droit de la liste.")})
    return by_family(scopes)


def too_many(establishments: Collection[str]) -> Sentence | None:
    """Why these are more than one mandate names."""
    if len(set(establishments)) <= MOST_CHOSEN:
        return None
    return Sentence("Choisissez cent établissements au plus, ou bien tous.")


def are_within(chosen: Collection[str], held: Collection[str], own: Collection[str]) -> bool:
    """Some establishments among those held, of a firm whose own are `own`; `ALL` is within nothing but itself."""
    if frozenset(held) == frozenset(ALL):
        return frozenset(chosen) == frozenset(ALL) or (
            len(chosen) > 0 and frozenset(chosen) <= frozenset(own)
        )
    return len(chosen) > 0 and frozenset(chosen) <= frozenset(held)


def check_terms(terms: Terms, *, establishments: Collection[str], now: datetime) -> Terms:
    """The same terms, tidied and believed. Raises `InvalidTerms` naming every field at fault.

    `establishments` are the public ids of the firm's own. A cap without the right
    to order payments means nothing and is dropped.
    """
    errors: dict[str, Sentence] = {}
    orders = any(PAYMENT_ORDER in grant.scopes for grant in terms.grants.values())
    if not terms.grants or any(
        not grant.scopes or not grant.scopes <= allowed_to(grant.role, family)
        for family, grant in terms.grants.items()
    ):
        errors["scopes"] = Sentence("Choisissez au moins un droit de la liste.")
    if not are_within(terms.establishments, ALL, establishments):
        errors["establishments"] = Sentence("Choisissez au moins un de vos établissements.")
    elif reason := too_many(terms.establishments):
        errors["establishments"] = reason
    if terms.starts_on < paris_day(now):
        errors["starts_on"] = Sentence("La délégation ne peut pas commencer avant aujourd’hui.")
    if terms.ends_on < max(terms.starts_on, paris_day(now)):
        errors["ends_on"] = Sentence("Le dernier jour doit suivre le premier.")
    if orders and not terms.amount_cap_cents:
        errors["amount_cap"] = Sentence("Indiquez le montant le plus élevé d’un ordre de paiement.")
    if errors:
        raise InvalidTerms(errors)
    return terms._replace(
        establishments=tuple(sorted(set(terms.establishments))),
        amount_cap_cents=terms.amount_cap_cents if orders else None,
    )

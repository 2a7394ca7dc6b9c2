"""The delegation form: what was typed becomes terms, or sentences that say how to mend it."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, NamedTuple

from libs.common.access.rights import BUNDLES, Bundle
from libs.common.http.forms import Form
from libs.common.values.money import InvalidAmount, parse_euros
from libs.common.values.sentence import Sentence
from services.identity.delegation.mandate import ALL
from services.identity.delegation.reading_store import Place
from services.identity.delegation.terms import (
    InvalidTerms,
    Terms,
    check_terms,
    default_days,
    grants_of_scopes,
)
from services.identity.delegation.terms import grants_of_bundle as bundle_grants

CUSTOM = "custom"
"""The choice « droit par droit » beside the bundles."""


class Typed(NamedTuple):
    """The form as typed, shown again when something is to be mended."""

    bundle: str
    scopes: list[str]
    establishments: list[str]
    starts_on: Mapping[str, str] | date
    ends_on: Mapping[str, str] | date
    amount_cap: str
    machine: bool


def blank(now: datetime, *, bundle: Bundle = "declare") -> Typed:
    """The form as first shown: everyday rights, everywhere, one year, people only."""
    starts_on, ends_on = default_days(now)
    return Typed(bundle, [], ["*"], starts_on, ends_on, "", False)


def read(form: Form) -> Typed:
    return Typed(
        form.text("bundle"),
        form.all("scopes"),
        form.all("establishments"),
        _date_parts(form, "starts_on"),
        _date_parts(form, "ends_on"),
        form.text("amount_cap"),
        form.ticked("machine"),
    )


def terms_of(typed: Typed, *, establishments: Mapping[str, Place], now: datetime) -> Terms:
    """Raises `InvalidTerms` naming every field at fault; `establishments` maps public ids to the firm's own."""
    errors: dict[str, Sentence] = {}
    grants: Any = {}
    if typed.bundle == CUSTOM:
        try:
            grants = grants_of_scopes(typed.scopes)
        except InvalidTerms as refused:
            errors |= refused.errors
    elif typed.bundle in BUNDLES:
        grants = bundle_grants(typed.bundle)
    else:
        errors["bundle"] = Sentence("Choisissez ce que le cabinet pourra faire.")
    starts_on = _date(typed.starts_on, "starts_on", errors)
    ends_on = _date(typed.ends_on, "ends_on", errors)
    cap = None
    if typed.amount_cap:
        try:
            cap = parse_euros(typed.amount_cap)
        except InvalidAmount as wrong:
            errors["amount_cap"] = wrong.reason
        else:
            if cap <= 0:
                errors["amount_cap"] = Sentence("Le plafond est un montant en euros, supérieur à zéro.")
    if errors or starts_on is None or ends_on is None:
        raise InvalidTerms(errors)
    places = ALL if "*" in typed.establishments else tuple(typed.establishments)
    terms = Terms(grants, places, starts_on, ends_on, cap, typed.machine)
    return check_terms(terms, establishments=establishments.keys(), now=now)


def _date_parts(form: Form, name: str) -> dict[str, str]:
    return {part: form.text(f"{name}-{part}") for part in ("day", "month", "year")}


def read_date(form: Form, name: str, errors: dict[str, Sentence]) -> date | None:
    """One date of three fields; None, and a sentence in `errors`, when it is none."""
    return _date(_date_parts(form, name), name, errors)


def _date(typed: Mapping[str, str] | date, name: str, errors: dict[str, Sentence]) -> date | None:
    if isinstance(typed, date):
        return typed
    try:
        if len(typed["year"]) != 4 or max(len(typed["month"]), len(typed["day"])) > 2:
            raise ValueError
        return date(int(typed["year"]), int(typed["month"]), int(typed["day"]))
    except ValueError:
        errors[name] = Sentence("Indiquez une date avec le jour, le mois et l’année, par exemple 31 12 2027.")
        return None

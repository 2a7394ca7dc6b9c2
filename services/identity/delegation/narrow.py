"""Less of the same mandate: fewer rights or establishments, an earlier end, a lower cap, no software."""

from collections.abc import Collection
from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID

from libs.common.access.rights import PAYMENT_ORDER, allowed_to
from libs.common.database.transaction import Tx
from libs.common.values.sentence import Sentence
from services.identity.delegation import store, write_down
from services.identity.delegation.mandate import Mandate
from services.identity.delegation.once import Receipt, already_done, mandate_of_adherent, mandate_of_cabinet
from services.identity.delegation.parties import MayAnswerForCabinet, MayManageMandates
from services.identity.delegation.term import paris_day
from services.identity.delegation.terms import InvalidTerms, are_within, too_many


class Less(NamedTuple):
    """What remains after narrowing: each field whole, as it shall be."""

    scopes: frozenset[str]
    establishments: tuple[str, ...]
    ends_on: date
    amount_cap_cents: int | None
    machine: bool


def what_remains(mandate: Mandate) -> Less:
    """The mandate's present terms, to be replaced field by field."""
    assert mandate.ends_on is not None, "a mandate in force has an end"
    return Less(
        frozenset(mandate.scopes),
        mandate.establishments,
        mandate.ends_on,
        mandate.amount_cap_cents,
        mandate.machine,
    )


async def narrow(
    tx: Tx,
    by: MayManageMandates | MayAnswerForCabinet,
    mandate_id: UUID,
    less: Less,
    *,
    key: str,
    now: datetime,
) -> Receipt:
    """Keep the mandate with `less`, which must be within the present terms and not equal to them.

    Records `MandateNarrowed` and a floor: tokens of the former version are refused
    at once. Raises `InvalidTerms` for anything more, or nothing at all, and
    `NotFound`, `NotPossible`, `Lapsed`, `MandateChanged`, `KeyReused`.
    """
    if isinstance(by, MayAnswerForCabinet):
        mandate = await mandate_of_cabinet(tx, mandate_id, by.cabinet_id)
    else:
        mandate = await mandate_of_adherent(tx, mandate_id, by.adherent_id)
    if done := await already_done(
        tx, key, "narrow", by.person_id, [mandate_id], now, asked=(mandate_id, less)
    ):
        return done
    own = await store.establishments_of(tx, mandate.adherent_id)
    kept = _within(mandate, less, own, now)
    narrowed = await write_down.move(
        tx,
        mandate,
        "narrowed",
        by.hand,
        now,
        scopes=tuple(sorted(kept.scopes)),
        role=_role_of(mandate, kept.scopes),
        establishments=tuple(sorted(kept.establishments)),
        ends_on=kept.ends_on,
        amount_cap_cents=kept.amount_cap_cents,
        machine=kept.machine,
    )
    return Receipt((narrowed,))


def _role_of(mandate: Mandate, scopes: Collection[str]) -> str:
    """A principal left with nothing but looking becomes an observer, and its place is free."""
    return "observer" if frozenset(scopes) <= allowed_to("observer", mandate.family) else mandate.role


def _within(mandate: Mandate, less: Less, own: frozenset[str], now: datetime) -> Less:
    if mandate.state != "active":
        return less  # the table refuses the move with its own reason
    present = what_remains(mandate)
    errors: dict[str, Sentence] = {}
    if not less.scopes or not less.scopes <= present.scopes:
        errors["scopes"] = Sentence("Vous pouvez seulement retirer des droits, et il doit en rester un.")
    if not are_within(less.establishments, present.establishments, own):
        errors["establishments"] = Sentence(
            "Vous pouvez seulement retirer des établissements, et il doit en rester un."
        )
    elif reason := too_many(less.establishments):
        errors["establishments"] = reason
    if not paris_day(now) <= less.ends_on <= present.ends_on:
        errors["ends_on"] = Sentence("Le dernier jour peut seulement être avancé, au plus tôt à aujourd’hui.")
    cap = less.amount_cap_cents if PAYMENT_ORDER in less.scopes else None
    if (cap is None and PAYMENT_ORDER in less.scopes) or (cap or 0) > (present.amount_cap_cents or 0):
        errors["amount_cap"] = Sentence("Le plafond peut seulement être abaissé.")
    if less.machine and not present.machine:
        errors["machine"] = Sentence("L’accès d’un logiciel ne peut pas être ajouté ici.")
    kept = less._replace(amount_cap_cents=cap)
    if not errors and kept == present:
        errors["scopes"] = Sentence("Rien n’a été retiré.")
    if errors:
        raise InvalidTerms(errors)
    return kept

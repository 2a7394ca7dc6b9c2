"""A former authorisation becomes an offer: one click on a filled form, and the step-up."""

from datetime import datetime
from uuid import UUID

from libs.common.access.rights import FAMILIES, Bundle
from libs.common.database.transaction import Tx
from services.identity.delegation.mandate import ALL, Mandate
from services.identity.delegation.notices import Notices
from services.identity.delegation.offer import offer
from services.identity.delegation.once import Receipt, mandate_of_adherent
from services.identity.delegation.parties import MayManageMandates
from services.identity.delegation.terms import Terms, default_days, grants_of_bundle


def usual_bundle(former: Mandate) -> Bundle:
    """What the form proposes: the everyday work of the family; paying is always a choice of today."""
    return "declare" if former.family == FAMILIES[0] else "leave"


def usual_terms(former: Mandate, now: datetime) -> Terms:
    """The filled form: everyday rights, every establishment, one year from today, people only."""
    starts_on, ends_on = default_days(now)
    return Terms(grants_of_bundle(usual_bundle(former)), ALL, starts_on, ends_on)


async def renew_former(
    tx: Tx,
    by: MayManageMandates,
    former_id: UUID,
    *,
    key: str,
    now: datetime,
    notices: Notices,
    terms: Terms | None = None,
) -> Receipt:
    """Offer anew what the former system knew, on today's terms; the usual ones unless given.

    The former authorisation gave nothing and gives nothing until the cabinet
    accepts. Raises what `offer` raises.
    """
    former = await mandate_of_adherent(tx, former_id, by.adherent_id)
    return await offer(
        tx,
        by,
        former.cabinet_id,
        terms or usual_terms(former, now),
        key=key,
        now=now,
        notices=notices,
        former_id=former_id,
    )

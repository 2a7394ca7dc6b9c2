"""A mandate as it begins: proposed by one side on these terms, to be answered by the other."""

from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from libs.common.access.rights import PAYMENT_ORDER, Family
from services.identity.delegation.mandate import Mandate
from services.identity.delegation.terms import Terms

ANSWER_WITHIN = timedelta(days=30)


def begun_mandate(
    state: Literal["offered", "requested"],
    mandate_id: UUID,
    adherent_id: UUID,
    cabinet_id: UUID,
    family: Family,
    terms: Terms,
    *,
    gesture_id: UUID,
    proposed_by: UUID,
    now: datetime,
) -> Mandate:
    """The part of `terms` in one family, as version 1. The cap stays with the right to order payments."""
    grant = terms.grants[family]
    return Mandate(
        id=mandate_id,
        adherent_id=adherent_id,
        cabinet_id=cabinet_id,
        family=family,
        role=grant.role,
        state=state,
        version=1,
        scopes=tuple(sorted(grant.scopes)),
        establishments=terms.establishments,
        starts_on=terms.starts_on,
        ends_on=terms.ends_on,
        amount_cap_cents=terms.amount_cap_cents if PAYMENT_ORDER in grant.scopes else None,
        machine=terms.machine,
        document_categories=terms.document_categories,
        answer_by=now + ANSWER_WITHIN,
        suspended_by=None,
        gesture_id=gesture_id,
        previous_id=None,
        former_reference=None,
        former_label=None,
        proposed_by=proposed_by,
        created_at=now,
        state_at=now,
    )

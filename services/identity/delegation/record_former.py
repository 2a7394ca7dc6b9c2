"""What the former system allowed comes in as evidence: shown, greyed, powerless, renewable."""

from datetime import datetime
from uuid import UUID

from libs.common.access.rights import Family
from libs.common.database.transaction import Tx
from libs.common.values.identifiers import new_id
from services.identity.delegation import write_down
from services.identity.delegation.mandate import ALL, Mandate
from services.identity.delegation.parties import Hand

IMPORT = Hand("import")


async def record_former(
    tx: Tx, adherent_id: UUID, cabinet_id: UUID, *, reference: str, label: str, family: Family, now: datetime
) -> UUID | None:
    """Keep a former authorisation as `legacy_lapsed`; its id, or None when it was imported already.

    `reference` is the former system's own key, unique in the caisse and family;
    `label` its words, shown to the firm. Records `MandateImported`.
    """
    former = Mandate(
        id=new_id(),
        adherent_id=adherent_id,
        cabinet_id=cabinet_id,
        family=family,
        role="observer",
        state="legacy_lapsed",
        version=1,
        scopes=(),
        establishments=ALL,
        starts_on=None,
        ends_on=None,
        amount_cap_cents=None,
        machine=False,
        document_categories=ALL,
        answer_by=None,
        suspended_by=None,
        gesture_id=new_id(),
        previous_id=None,
        former_reference=reference,
        former_label=label,
        proposed_by=None,
        created_at=now,
        state_at=now,
    )
    return former.id if await write_down.begin(tx, former, "imported", IMPORT, now) else None

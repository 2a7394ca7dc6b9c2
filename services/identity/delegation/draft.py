"""A delegation between the form and its effect: chosen, proven, shown back, done."""

from datetime import datetime, timedelta
from uuid import UUID

from libs.common.database.transaction import Tx
from libs.common.refusals import NotFound
from libs.common.values.identifiers import new_id
from services.identity.delegation import draft_store
from services.identity.delegation.draft_store import Draft
from services.identity.delegation.notices import Notices
from services.identity.delegation.offer import offer
from services.identity.delegation.once import Receipt
from services.identity.delegation.parties import MayManageMandates
from services.identity.delegation.terms import Terms

LASTS = timedelta(hours=2)


async def keep_draft(
    tx: Tx,
    by: MayManageMandates,
    cabinet_id: UUID,
    terms: Terms,
    *,
    now: datetime,
    former_id: UUID | None = None,
) -> Draft:
    """Keep what was chosen for two hours."""
    draft = Draft(
        id=new_id(),
        adherent_id=by.adherent_id,
        person_id=by.person_id,
        cabinet_id=cabinet_id,
        former_id=former_id,
        terms=terms,
        created_at=now,
    )
    await draft_store.add(tx, draft)
    await draft_store.forget(tx, now - timedelta(days=1))
    return draft


async def find_draft(tx: Tx, draft_id: UUID, person_id: UUID, now: datetime) -> Draft:
    """The person's own draft. Raises `NotFound` when unknown, another's, or too old."""
    draft = await draft_store.find(tx, draft_id, person_id, now - LASTS)
    if draft is None:
        raise NotFound
    return draft


async def carry_out(
    tx: Tx, by: MayManageMandates, draft: Draft, *, now: datetime, notices: Notices
) -> Receipt:
    """Do what the pressed button asked; the draft's id is the command's key.

    Raises what `offer` raises, `StepUpRequired` first.
    """
    return await offer(
        tx,
        by,
        draft.cabinet_id,
        draft.terms,
        key=str(draft.id),
        now=now,
        notices=notices,
        former_id=draft.former_id,
    )

"""The SQL of a delegation being filled in."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec

from libs.common.database.transaction import Tx
from services.identity.delegation.terms import Terms


class Draft(NamedTuple):
    """What one administrator chose so far."""

    id: UUID
    adherent_id: UUID
    person_id: UUID
    cabinet_id: UUID
    former_id: UUID | None
    terms: Terms
    created_at: datetime


async def add(tx: Tx, draft: Draft) -> None:
    await tx.execute(
        """
        INSERT INTO mandate_draft (caisse, id, adherent_id, person_id, cabinet_id, former_id, terms,
                                   created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7::text::jsonb, $8)
        """,
        tx.the_caisse,
        draft.id,
        draft.adherent_id,
        draft.person_id,
        draft.cabinet_id,
        draft.former_id,
        msgspec.json.encode(draft.terms).decode(),
        draft.created_at,
    )


async def find(tx: Tx, draft_id: UUID, person_id: UUID, created_after: datetime) -> Draft | None:
    """The person's own draft, unless too old."""
    row = await tx.fetchrow(
        """
        SELECT id, adherent_id, person_id, cabinet_id, former_id, terms::text, created_at
          FROM mandate_draft
         WHERE id = $1 AND person_id = $2 AND created_at > $3
        """,
        draft_id,
        person_id,
        created_after,
    )
    if row is None:
        return None
    terms = msgspec.json.decode(row["terms"], type=Terms)
    return Draft(
        row["id"],
        row["adherent_id"],
        row["person_id"],
        row["cabinet_id"],
        row["former_id"],
        terms,
        row["created_at"],
    )


async def forget(tx: Tx, before: datetime) -> int:
    """Remove the drafts of the caisse nobody finished."""
    return await tx.execute("DELETE FROM mandate_draft WHERE created_at <= $1", before)

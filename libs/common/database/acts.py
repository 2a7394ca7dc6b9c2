"""Who did what for a firm, read back from the journal of one service."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from libs.common.database.transaction import Tx
from libs.common.values.identifiers import public_id


class RecordedAct(msgspec.Struct, frozen=True):
    """One line, as the journal holds it; `details` is its JSON."""

    at: datetime
    action: str
    subject_kind: str
    subject_id: str
    person_id: UUID | None
    cabinet_id: UUID | None
    mandate_id: UUID | None
    mandate_version: int | None
    details: str


async def acts_for(tx: Tx, adherent_id: UUID, *, limit: int = 100) -> list[RecordedAct]:
    """The last acts that concern this adhérent, newest first."""
    rows = await tx.fetch(
        """
        SELECT at, action, subject_kind, subject_id, person_id, cabinet_id, mandate_id, mandate_version,
               details::text
          FROM journal
         WHERE adherent_id = $1
         ORDER BY at DESC, id DESC
         LIMIT $2
        """,
        adherent_id,
        limit,
    )
    return [RecordedAct(*row) for row in rows]


def of_software(
    machine_id: UUID | None, sponsor_id: UUID | None
) -> dict[str, str | int | bool | list[str] | None]:
    """What the details of an act hold when a cabinet's software did it: which, and who answers for it."""
    if machine_id is None or sponsor_id is None:
        return {}
    return {"machine": public_id("mch", machine_id), "sponsor": public_id("per", sponsor_id)}


def as_told(act: RecordedAct) -> dict[str, Any]:
    """An act as the APIs tell it: public ids, `detail` the number or name that a page shows."""
    details: dict[str, Any] = msgspec.json.decode(act.details)
    return {
        "at": act.at,
        "action": act.action,
        "subject": act.subject_id,
        "person": public_id("per", act.person_id) if act.person_id else None,
        "machine": details.get("machine"),
        "cabinet": public_id("cab", act.cabinet_id) if act.cabinet_id else None,
        "mandate": public_id("mdt", act.mandate_id) if act.mandate_id else None,
        "mandate_version": act.mandate_version,
        "detail": str(details.get("number", "")),
        "details": details,
    }

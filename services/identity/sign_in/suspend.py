"""A person stopped for a reason, and restored: the only freeze there is (openid.md §1).

People are platform-wide: a suspension holds in every caisse, whichever recorded it.
"""

from datetime import datetime
from typing import Literal
from uuid import UUID, uuid4

from libs.common.database import journal, outbox
from libs.common.database.journal import Act, Actor
from libs.common.database.transaction import Tx
from libs.common.events.identity import FloorRaised
from libs.common.values.identifiers import public_id
from services.identity.sign_in import store


async def suspend(tx: Tx, person_id: UUID, *, by: Actor, reason: str, now: datetime) -> bool:
    """Everything this person holds dies: sessions, grants and refresh tokens for good, access tokens in a second.

    False when they were suspended already, or are unknown.
    """
    if not await store.suspend(tx, person_id, now=now):
        return False
    await store.supersede_resets(tx, person_id, now=now)
    key = public_id("per", person_id)
    await outbox.record(tx, FloorRaised(event_id=uuid4(), at=now, kind="actor", key=key, not_before=now))
    await _note(tx, "suspended", person_id, by, reason, now)
    return True


async def restore(tx: Tx, person_id: UUID, *, by: Actor, reason: str, now: datetime) -> bool:
    """They may sign in again; what they held before stays dead. False when they were not suspended."""
    if not await store.restore(tx, person_id, now=now):
        return False
    await _note(tx, "restored", person_id, by, reason, now)
    return True


async def _note(
    tx: Tx, what: Literal["suspended", "restored"], person_id: UUID, by: Actor, reason: str, now: datetime
) -> None:
    await journal.record(
        tx,
        Act(
            action=f"person.{what}",
            subject_kind="person",
            subject_id=public_id("per", person_id),
            at=now,
            actor=by,
            details={"reason": reason},
        ),
    )

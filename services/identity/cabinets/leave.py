"""A collaborator leaves the cabinet, and every token of theirs dies with it."""

from datetime import datetime
from uuid import UUID

from libs.common.database import journal
from libs.common.database.journal import Act, Actor
from libs.common.database.transaction import Tx
from libs.common.refusals import DomainError, NotFound
from libs.common.values.identifiers import public_id
from services.identity.cabinets import store
from services.identity.delegation.parties import MayAnswerForCabinet
from services.identity.floors.raise_floor import raise_floor


class LastOwner(DomainError):
    """The last owner of a cabinet leaves only once there is another."""


async def remove_collaborator(tx: Tx, by: MayAnswerForCabinet, person_id: UUID, *, now: datetime) -> None:
    """End a membership; the floor of the actor refuses its live tokens in every service.

    Raises `NotFound` for a stranger to the cabinet, `LastOwner`.
    """
    await store.owners_turn(tx, by.cabinet_id)
    if not await store.remove_collaborator(tx, by.cabinet_id, person_id):
        if any(member.cabinet_id == by.cabinet_id for member in await store.memberships(tx, person_id)):
            raise LastOwner
        raise NotFound
    await raise_floor(tx, "actor", public_id("per", person_id), now)
    await journal.record(
        tx,
        Act(
            action="collaborator.removed",
            subject_kind="person",
            subject_id=public_id("per", person_id),
            at=now,
            actor=Actor(person_id=by.person_id, cabinet_id=by.cabinet_id),
        ),
    )

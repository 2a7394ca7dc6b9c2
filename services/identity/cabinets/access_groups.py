"""Who in the cabinet sees which clients: collaborators × clients × rights × an optional end.

Closed by default and only ever narrowing: a group never gives more than the
mandate does, and whatever it takes away is taken from live tokens too.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from libs.common.access.rights import DELEGABLE
from libs.common.database import journal
from libs.common.database.journal import Act, Actor
from libs.common.database.transaction import Tx
from libs.common.refusals import NotFound
from libs.common.values.identifiers import new_id, public_id
from services.identity.cabinets import store
from services.identity.delegation.parties import MayAnswerForCabinet
from services.identity.floors.raise_floor import raise_floor


async def create_group(
    tx: Tx,
    by: MayAnswerForCabinet,
    name: str,
    *,
    people: Sequence[UUID],
    clients: Sequence[UUID],
    now: datetime,
    scopes: Collection[str] | None = None,
    ends_at: datetime | None = None,
) -> UUID:
    """A new group with its people and clients, in one transaction; its id.

    `scopes` masks what each mandate gives (None masks nothing); `ends_at` is
    exclusive. Strangers to the cabinet and firms without a mandate are passed over.
    """
    group_id = new_id()
    mask = None if scopes is None else sorted(frozenset(scopes) & DELEGABLE)
    await store.add_group(tx, group_id, by.cabinet_id, name, mask, ends_at, now)
    await store.add_members(tx, group_id, by.cabinet_id, people)
    await store.add_clients(tx, group_id, by.cabinet_id, clients)
    await _note(tx, by, group_id, "access_group.created", now)
    return group_id


async def add_to_group(
    tx: Tx,
    by: MayAnswerForCabinet,
    group_id: UUID,
    *,
    people: Sequence[UUID] = (),
    clients: Sequence[UUID] = (),
    now: datetime,
) -> None:
    """Let people, or clients, into the group: from their next exchange."""
    await store.add_members(tx, group_id, by.cabinet_id, people)
    await store.add_clients(tx, group_id, by.cabinet_id, clients)
    await _note(tx, by, group_id, "access_group.extended", now)


async def take_from_group(
    tx: Tx,
    by: MayAnswerForCabinet,
    group_id: UUID,
    *,
    person_id: UUID | None = None,
    adherent_id: UUID | None = None,
    now: datetime,
) -> None:
    """Take a person, or a client, out; the group's floor refuses its live tokens. Raises `NotFound`."""
    taken = False
    if person_id is not None:
        taken |= await store.remove_member(tx, group_id, by.cabinet_id, person_id)
    if adherent_id is not None:
        taken |= await store.remove_client(tx, group_id, by.cabinet_id, adherent_id)
    if not taken:
        raise NotFound
    await raise_floor(tx, "group", public_id("grp", group_id), now)
    await _note(tx, by, group_id, "access_group.reduced", now)


async def change_group(
    tx: Tx,
    by: MayAnswerForCabinet,
    group_id: UUID,
    *,
    scopes: Collection[str] | None,
    ends_at: datetime | None,
    now: datetime,
) -> None:
    """Set the mask and the end. Always raises the floor: less must act at once. Raises `NotFound`."""
    mask = None if scopes is None else sorted(frozenset(scopes) & DELEGABLE)
    if not await store.change_group(tx, group_id, by.cabinet_id, mask, ends_at):
        raise NotFound
    await raise_floor(tx, "group", public_id("grp", group_id), now)
    await _note(tx, by, group_id, "access_group.changed", now)


async def remove_group(tx: Tx, by: MayAnswerForCabinet, group_id: UUID, *, now: datetime) -> None:
    """End the group; its clients are invisible to whoever saw them through it. Raises `NotFound`."""
    if not await store.remove_group(tx, group_id, by.cabinet_id, now):
        raise NotFound
    await raise_floor(tx, "group", public_id("grp", group_id), now)
    await _note(tx, by, group_id, "access_group.removed", now)


async def _note(tx: Tx, by: MayAnswerForCabinet, group_id: UUID, action: str, now: datetime) -> None:
    await journal.record(
        tx,
        Act(
            action=action,
            subject_kind="access_group",
            subject_id=public_id("grp", group_id),
            at=now,
            actor=Actor(person_id=by.person_id, cabinet_id=by.cabinet_id),
        ),
    )

"""A person stopped for a reason, and restored: the only freeze there is (openid.md §1).

People are platform-wide: a suspension holds in every caisse, whichever recorded it.
"""

from datetime import datetime
from typing import Literal
from uuid import UUID

from libs.common.database import journal
from libs.common.database.journal import Act, Actor
from libs.common.database.pool import Database
from libs.common.database.transaction import Tx
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.identifiers import public_id
from services.identity.caisses import store as caisses
from services.identity.sign_in import store
from services.identity.sign_in.forgotten_password import store as resets
from services.identity.sign_in.session import end_all_sessions


async def suspend_everywhere(db: Database, person_id: UUID, *, by: Actor, reason: str, now: datetime) -> bool:
    """`suspend`, and the journal of every caisse of the installation says so, one after the other.

    All is dead from the first on. Should the process die before the last, run it again. False when they were
    suspended already.
    """
    done = [await _suspended_in(db, slug, person_id, by, reason, now) for slug in await _slugs(db)]
    return any(done)


async def restore_everywhere(db: Database, person_id: UUID, *, by: Actor, reason: str, now: datetime) -> bool:
    """`restore`, and the journal of every caisse says so. False when they were not suspended."""
    async with db.across_caisses() as tx:
        person = await store.find_person(tx, person_id=person_id)
    if person is None or person.state != "suspended":
        return False
    *others, last = await _slugs(db)
    for slug in others:
        async with db.transaction(slug) as tx:
            await _note(tx, "restored", person_id, by, reason, now)
    # The state comes last: should the process die before, it still says that this must be done, and no journal
    # is left out.
    async with db.transaction(last) as tx:
        return await restore(tx, person_id, by=by, reason=reason, now=now)


async def suspend(tx: Tx, person_id: UUID, *, by: Actor, reason: str, now: datetime) -> bool:
    """Everything this person holds dies, in every caisse: sessions, grants and refresh tokens for good, access tokens
    within a second.

    Twice is once more the same. False when they were suspended already.
    """
    done = await store.suspend(tx, person_id, now=now)
    await resets.supersede_resets(tx, person_id, now=now, disavowals_too=True)
    why = {"because": "person.suspended", **_said(reason)}
    await end_all_sessions(tx, person_id, by=by, why=why, now=now)
    await _note(tx, "suspended", person_id, by, reason, now)
    return done


async def restore(tx: Tx, person_id: UUID, *, by: Actor, reason: str, now: datetime) -> bool:
    """They may sign in again; what they held before stays dead. False when they were not suspended."""
    if not await store.restore(tx, person_id, now=now):
        return False
    await _note(tx, "restored", person_id, by, reason, now)
    return True


async def _suspended_in(
    db: Database, slug: CaisseSlug, person_id: UUID, by: Actor, reason: str, now: datetime
) -> bool:
    async with db.transaction(slug) as tx:
        return await suspend(tx, person_id, by=by, reason=reason, now=now)


async def _slugs(db: Database) -> list[CaisseSlug]:
    async with db.across_caisses() as tx:
        return [caisse.slug for caisse in await caisses.every(tx)]


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
            details={**_said(reason)},
        ),
    )


def _said(reason: str) -> dict[str, str]:
    # The command line is the one hand that does it (`Hand.name` of clients).
    return {"reason": reason, "by": "operator"}

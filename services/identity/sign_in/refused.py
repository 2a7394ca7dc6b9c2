"""A refused sign-in is told: counted at once, and one line a minute for a person that exists.

The line is written after the answer: an address that nobody has leaves none, and the time of the answer must not tell
(reliability.md P9). Nor must that of the next one: chance says how long after. A process that is stopped writes first
what it owes.
"""

import asyncio
import random
from contextlib import suppress
from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

import structlog

from libs.common.database import journal
from libs.common.database.journal import Act
from libs.common.database.pool import Database
from libs.common.database.transaction import DatabaseUnavailable
from libs.common.runtime.telemetry import counter
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.identifiers import public_id

log = structlog.get_logger()

REFUSED = counter("sign_ins_refused", "Passwords that opened nothing, whoever was named")

AT_ONCE = 64
"""Lines about to be written; under a flood the others are in the figure alone."""

LONGEST_AFTER = 0.5
"""Seconds."""


class Owed(NamedTuple):
    """A line that waits for its moment."""

    db: Database
    hurry: asyncio.Event


_writing: dict[asyncio.Task[None], Owed] = {}


def note_refused_later(
    db: Database,
    caisse: CaisseSlug,
    person_id: UUID,
    why: Literal["wrong_password", "suspended"],
    now: datetime,
) -> None:
    """Nobody is the actor: whoever typed it has proven nothing."""
    if len(_writing) >= AT_ONCE:
        return
    act = Act(
        action="sign_in.refused",
        subject_kind="person",
        subject_id=public_id("per", person_id),
        at=now,
        details={"reason": why},
    )
    owed = Owed(db, asyncio.Event())
    writing = asyncio.get_running_loop().create_task(_write(owed, caisse, act, why))
    _writing[writing] = owed
    writing.add_done_callback(_writing.pop)


async def write_what_is_owed(db: Database) -> None:
    """Every line that waits for this database, now: it is about to close, and nobody can time an answer any more."""
    tasks = [task for task, owed in _writing.items() if owed.db is db]
    for task in tasks:
        _writing[task].hurry.set()
    await asyncio.gather(*tasks)


async def _write(owed: Owed, caisse: CaisseSlug, act: Act, why: str) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(owed.hurry.wait(), LONGEST_AFTER * (0.2 + 0.8 * random.random()))
    try:
        async with owed.db.transaction(caisse) as tx:
            await journal.record_once(tx, act, why)
    except DatabaseUnavailable:
        log.warning("sign_in.refusal_not_noted")

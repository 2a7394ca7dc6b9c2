"""A refused sign-in is told: counted at once, and one line a minute for a person that exists.

The line is written after the answer: an address that nobody has leaves none, and the time of the answer must not tell
(reliability.md P9). Nor must that of the next one: chance says how long after.
"""

import asyncio
import random
from datetime import datetime
from typing import Literal
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

_writing: set[asyncio.Task[None]] = set()


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
    writing = asyncio.get_running_loop().create_task(_write(db, caisse, act, why))
    _writing.add(writing)
    writing.add_done_callback(_writing.discard)


async def _write(db: Database, caisse: CaisseSlug, act: Act, why: str) -> None:
    await asyncio.sleep(LONGEST_AFTER * (0.2 + 0.8 * random.random()))
    try:
        async with db.transaction(caisse) as tx:
            await journal.record_once(tx, act, why)
    except DatabaseUnavailable:
        log.warning("sign_in.refusal_not_noted")

"""The sweeper writes down what is already true: offers nobody answered, mandates that are over.

Every use judges the clocks itself, so a stopped sweeper changes no right.
"""

from datetime import datetime
from uuid import UUID

from libs.common.database.transaction import Tx
from services.identity.delegation import store, write_down
from services.identity.delegation.mandate import Mandate
from services.identity.delegation.parties import CLOCK
from services.identity.delegation.term import paris_day

AT_ONCE = 200
"""Mandates settled in one transaction: short enough to disturb nobody."""


async def settle(tx: Tx, now: datetime, *, adherent_id: UUID | None = None) -> list[Mandate]:
    """Expire and end what is overdue, of one adhérent or of the caisse, at most `AT_ONCE`.

    Records `MandateExpired` and `MandateEnded`. Raises `MandateChanged` when
    somebody moved one of them at the same moment: nothing is written then.
    """
    settled: list[Mandate] = []
    for mandate in await store.overdue(tx, now, paris_day(now), AT_ONCE, adherent_id):
        event = "expired" if mandate.is_unanswered(now) else "ended"
        settled.append(await write_down.move(tx, mandate, event, CLOCK, now))
    return settled

"""A firm leaves the caisse: the letters on their way to it open nothing any more."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

from libs.common.database import journal
from libs.common.database.transaction import Tx
from services.identity.letters import store

Reason = Literal["adherent_struck_off"]


async def revoke_letters(tx: Tx, adherent_ids: Sequence[UUID], reason: Reason, now: datetime) -> None:
    """End the pairs of these firms, printed or not, and erase their halves.

    A letter makes an administrator, who acts; a firm struck off acts no more (domain.md, invariant 6). A first
    connection already begun with them ends at its next page: it too looks at the firm. Back in the caisse, the
    firm is written to anew.
    """
    for pair_id, adherent_id in await store.end_pairs(tx, adherent_ids, "revoked", reason, now):
        await journal.record(
            tx,
            journal.Act(
                action="letters.revoked",
                subject_kind="letter_pair",
                subject_id=str(pair_id),
                adherent_id=adherent_id,
                at=now,
                details={"reason": reason},
            ),
        )

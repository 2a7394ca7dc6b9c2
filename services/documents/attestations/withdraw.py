"""The caisse takes an attestation back: the file stays what it is, its page says withdrawn."""

from datetime import datetime
from uuid import UUID

from libs.common.database import journal, outbox
from libs.common.database.transaction import Tx
from libs.common.events.documents import AttestationWithdrawn
from libs.common.refusals import DomainError, NotFound
from libs.common.values.identifiers import new_id, public_id
from services.documents.attestations import store
from services.documents.attestations.issue import actor_of
from services.documents.attestations.payload import number_of
from services.documents.attestations.permission import MayWithdraw


class NotWithdrawable(DomainError):
    """It is withdrawn or replaced already, or not issued yet."""


async def withdraw_attestation(
    tx: Tx, by: MayWithdraw, attestation_id: UUID, *, reason: str, now: datetime
) -> None:
    """Withdraw a live attestation, once. `reason` is kept and told to the caisse alone.

    Records `AttestationWithdrawn`. Raises `NotFound`, `NotWithdrawable`.
    """
    row = await store.find(tx, attestation_id)
    if row is None:
        raise NotFound
    if not await store.change_status(tx, attestation_id, "withdrawn", reason, now):
        raise NotWithdrawable
    number = number_of(by.caisse, row.year or 0, row.number or 0)
    await journal.record(
        tx,
        journal.Act(
            action="attestation.withdrawn",
            subject_kind="attestation",
            subject_id=public_id("att", row.id),
            adherent_id=row.adherent_id,
            at=now,
            actor=actor_of(by.by),
            details={"number": number, "client": by.by.client_id},
        ),
    )
    await outbox.record(
        tx,
        AttestationWithdrawn(
            event_id=new_id(),
            at=now,
            attestation_id=row.id,
            number=number,
            adherent_id=row.adherent_id,
            reason=reason,
        ),
    )

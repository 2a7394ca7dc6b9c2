"""The ledger of a mandate: the other services tell what was done under it, and by whom."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from libs.common.bus.consumer import Reaction
from libs.common.database.transaction import Tx
from libs.common.events.adherent import ActNoted
from libs.common.events.documents import ActedBy, AttestationIssued, AttestationRefused
from libs.common.events.envelope import Event
from services.identity.delegation import ledger_store

DURABLE = "identity-mandate-ledger"
DURABLE_OF_ADHERENT = "identity-mandate-ledger-reads"


async def attestation_issued(tx: Tx, fact: AttestationIssued) -> None:
    """A collaborator, or the cabinet's software, had an attestation issued."""
    await _note(tx, fact.event_id, fact.at, fact.by, "attestation.issued", f"n° {fact.number}")


async def attestation_refused(tx: Tx, fact: AttestationRefused) -> None:
    """One of them asked, and the firm was not up to date."""
    await _note(tx, fact.event_id, fact.at, fact.by, "attestation.refused", "")


async def act_noted(tx: Tx, fact: ActNoted) -> None:
    """A collaborator, or the cabinet's software, looked at the firm's file."""
    await ledger_store.note(
        tx, fact.event_id, fact.mandate_id, fact.at, fact.person_id, fact.client_id, fact.action, ""
    )


async def _note(tx: Tx, event_id: UUID, at: datetime, by: ActedBy, action: str, what: str) -> None:
    if by.mandate_id is None:
        return  # the firm's own people: their acts are in the firm's own activity
    await ledger_store.note(tx, event_id, by.mandate_id, at, by.person_id, by.client_id, action, what)


OF_DOCUMENTS: Mapping[type[Event], Reaction] = {
    AttestationIssued: attestation_issued,
    AttestationRefused: attestation_refused,
}
"""What identity hears of the documents service."""

OF_ADHERENT: Mapping[type[Event], Reaction] = {ActNoted: act_noted}
"""What identity hears of the adherent service."""

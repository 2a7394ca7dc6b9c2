"""What the documents service tells: attestations issued, refused, withdrawn. Never their code."""

from datetime import date
from uuid import UUID

import msgspec

from libs.common.events.envelope import Event


class ActedBy(msgspec.Struct, frozen=True, kw_only=True):
    """Whoever asked: a person, or a cabinet's software and who answers for it; under a delegation, the cabinet,
    the mandate and the token."""

    client_id: str
    person_id: UUID | None = None
    cabinet_id: UUID | None = None
    mandate_id: UUID | None = None
    mandate_version: int | None = None
    token_jti: str | None = None
    machine_id: UUID | None = None
    sponsor_id: UUID | None = None


class AttestationIssued(Event, frozen=True, kw_only=True, tag="attestation.issued.v1"):
    """A numbered, sealed attestation exists. `number` is the one printed."""

    attestation_id: UUID
    number: str
    kind: str
    adherent_id: UUID
    as_of: date
    by: ActedBy
    replaces: UUID | None = None


class AttestationRefused(Event, frozen=True, kw_only=True, tag="attestation.refused.v1"):
    """The firm is not up to date; `codes` are the reasons' codes, without amounts."""

    adherent_id: UUID
    kind: str
    as_of: date
    codes: list[str]
    by: ActedBy


class AttestationWithdrawn(Event, frozen=True, kw_only=True, tag="attestation.withdrawn.v1"):
    """The caisse took an attestation back: its page says so from now on."""

    attestation_id: UUID
    number: str
    adherent_id: UUID
    reason: str

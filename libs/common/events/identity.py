"""What the identity service tells: adhérents, accounts, mandates, and the floors that revoke."""

from datetime import date, datetime
from typing import ClassVar
from uuid import UUID

import msgspec

from libs.common.events.envelope import Event


class CaisseAdded(Event, frozen=True, kw_only=True, tag="caisse.added.v1"):
    """A caisse entered, or changed its name, contacts or colour: all that others print of it."""

    name: str
    siren: str
    address: list[str]
    phone: str
    email: str
    website: str
    colour: str = ""


class ImportedEstablishment(msgspec.Struct, frozen=True, kw_only=True):
    """An establishment as the former system knew it."""

    establishment_id: UUID
    siret: str | None
    name: str
    address: list[str]
    is_head_office: bool
    opened_on: date | None = None
    closed_on: date | None = None


class AdherentImported(Event, frozen=True, kw_only=True, tag="adherent.imported.v1"):
    """A member firm entered, or changed, from a former system's export: its whole file.

    `state` is `member` or `struck_off`.
    """

    adherent_id: UUID
    adherent_number: str
    siren: str | None
    siret: str | None
    legal_name: str
    address: list[str]
    establishments: list[ImportedEstablishment]
    state: str = "member"


class AccountActivated(Event, frozen=True, kw_only=True, tag="account.activated.v1"):
    """An adhérent proved its e-mail; its provisional credentials are dead."""

    account_id: UUID
    person_id: UUID
    adherent_id: UUID


class MandateTold(msgspec.Struct, frozen=True, kw_only=True):
    """A mandate as it stands after the fact; the event's `version` is the mandate's.

    `establishments` holds public ids, or `*` for all; `ends_on` is its last day.
    A former authorisation, powerless, has neither scopes nor dates.
    """

    mandate_id: UUID
    state: str
    adherent_id: UUID
    cabinet_id: UUID
    cabinet_siren: str
    family: str
    role: str
    scopes: list[str]
    establishments: list[str]
    starts_on: date | None = None
    ends_on: date | None = None
    amount_cap_cents: int | None = None
    machine: bool = False


class MandateImported(Event, frozen=True, kw_only=True, tag="mandate.imported.v1"):
    """A former system knew this authorisation: evidence that gives no right."""

    mandate: MandateTold


class MandateRequested(Event, frozen=True, kw_only=True, tag="mandate.requested.v1"):
    """A cabinet asks a firm for a mandate, which gives nothing before the firm accepts."""

    mandate: MandateTold
    person_id: UUID | None = None


class MandateOffered(Event, frozen=True, kw_only=True, tag="mandate.offered.v1"):
    """A firm's administrator offers a mandate, which gives nothing before the cabinet accepts."""

    mandate: MandateTold
    person_id: UUID | None = None


class MandateActivated(Event, frozen=True, kw_only=True, tag="mandate.activated.v1"):
    """Both sides agreed: the cabinet may act from now on, within the terms."""

    mandate: MandateTold
    person_id: UUID | None = None


class MandateDeclined(Event, frozen=True, kw_only=True, tag="mandate.declined.v1"):
    """The side that was asked said no."""

    mandate: MandateTold
    person_id: UUID | None = None


class MandateWithdrawn(Event, frozen=True, kw_only=True, tag="mandate.withdrawn.v1"):
    """The side that asked took it back before an answer."""

    mandate: MandateTold
    person_id: UUID | None = None


class MandateExpired(Event, frozen=True, kw_only=True, tag="mandate.expired.v1"):
    """Nobody answered in time."""

    mandate: MandateTold


class MandateNarrowed(Event, frozen=True, kw_only=True, tag="mandate.narrowed.v1"):
    """The mandate goes on with less."""

    mandate: MandateTold
    person_id: UUID | None = None


class MandateWidened(Event, frozen=True, kw_only=True, tag="mandate.widened.v1"):
    """The mandate goes on with more, the administrator having consented."""

    mandate: MandateTold
    person_id: UUID | None = None


class MandateRenewed(Event, frozen=True, kw_only=True, tag="mandate.renewed.v1"):
    """The mandate goes on until a later day."""

    mandate: MandateTold
    person_id: UUID | None = None


class MandateSuspended(Event, frozen=True, kw_only=True, tag="mandate.suspended.v1"):
    """The mandate gives nothing until the side named resumes it."""

    mandate: MandateTold
    suspended_by: str
    person_id: UUID | None = None


class MandateResumed(Event, frozen=True, kw_only=True, tag="mandate.resumed.v1"):
    """The suspension is over; tokens from before it stay dead."""

    mandate: MandateTold
    person_id: UUID | None = None


class MandateReplaced(Event, frozen=True, kw_only=True, tag="mandate.replaced.v1"):
    """Another cabinet became principal of the family in the same transaction."""

    mandate: MandateTold
    replaced_by: UUID
    person_id: UUID | None = None


class MandateRevoked(Event, frozen=True, kw_only=True, tag="mandate.revoked.v1"):
    """The firm took its power back."""

    mandate: MandateTold
    person_id: UUID | None = None


class MandateResigned(Event, frozen=True, kw_only=True, tag="mandate.resigned.v1"):
    """The cabinet gave the mandate up."""

    mandate: MandateTold
    person_id: UUID | None = None


class MandateEnded(Event, frozen=True, kw_only=True, tag="mandate.ended.v1"):
    """The last day of the mandate is over."""

    mandate: MandateTold


class MandateVoided(Event, frozen=True, kw_only=True, tag="mandate.voided.v1"):
    """Adhérent or cabinet was struck off, merged or deny-listed."""

    mandate: MandateTold
    reason: str


class FloorRaised(Event, frozen=True, kw_only=True, tag="authz.floor_raised.v1"):
    """Power shrank: tokens below this floor are refused everywhere from now on.

    `kind` is mandate, cabinet, group, actor, client or sid, and `key` its public
    id as tokens carry it. For a mandate, `version` is its new version and a token
    with a lower `ver` is refused; for the other kinds it is None, and tokens issued
    at or before `not_before` are.
    """

    urgent: ClassVar[bool] = True

    version: int | None = None  # type: ignore[reportIncompatibleVariableOverride]

    kind: str
    key: str
    not_before: datetime


class SigningKeyRevoked(Event, frozen=True, kw_only=True, tag="authz.signing_key_revoked.v1"):
    """A signing key of the caisse leaked: nothing signed with `kid` is believed from now on, whatever its date."""

    urgent: ClassVar[bool] = True

    kid: str

"""Proofs that the caller, adhérent or cabinet, may ask for an attestation, read one, or take one back."""

from typing import NamedTuple, NewType
from uuid import UUID

from libs.common.access.access_token import AccessToken
from libs.common.access.reach import reach_the_whole_firm
from libs.common.access.refusals import InsufficientScope
from libs.common.events.documents import ActedBy
from libs.common.refusals import NotFound
from libs.common.values.caisse_slug import CaisseSlug

AdherentId = NewType("AdherentId", UUID)
"""The adhérent that an address names, `adh_…`, not yet compared with the token."""

AttestationId = NewType("AttestationId", UUID)
"""The attestation that an address names, `att_…`."""

REQUEST = "attestation.request"
READ = "attestation.read"
WITHDRAW = "attestation.withdraw"


class MayRequestAttestation(NamedTuple):
    """Proof that the caller may have an attestation issued for this adhérent."""

    caisse: CaisseSlug
    adherent_id: UUID
    by: ActedBy


class MayReadAttestations(NamedTuple):
    """Proof that the caller may list and download the attestations of this adhérent."""

    caisse: CaisseSlug
    adherent_id: UUID
    by: ActedBy


class MayWithdraw(NamedTuple):
    """Proof that the caller acts for the caisse itself."""

    caisse: CaisseSlug
    by: ActedBy


def may_request_attestation(token: AccessToken, adherent_id: UUID) -> MayRequestAttestation:
    """Raises `NotFound` for another firm, the same as for one that does not exist, and `BeyondMandate`.

    An attestation speaks for the legal unit, all its establishments included.
    """
    _hold(token, REQUEST)
    _belong(token, adherent_id)
    reach_the_whole_firm(token)
    return MayRequestAttestation(token.caisse, adherent_id, acted_by(token))


def may_read_attestations(token: AccessToken, adherent_id: UUID) -> MayReadAttestations:
    """Raises `NotFound` for another firm, the same as for one that does not exist, and `BeyondMandate`."""
    _hold(token, READ)
    _belong(token, adherent_id)
    reach_the_whole_firm(token)
    return MayReadAttestations(token.caisse, adherent_id, acted_by(token))


def may_withdraw(token: AccessToken) -> MayWithdraw:
    """Only a token of the caisse's own, in no firm's name."""
    _hold(token, WITHDRAW)
    if token.adherent_id is not None:
        raise InsufficientScope("withdrawal in a firm's name")
    return MayWithdraw(token.caisse, acted_by(token))


def acted_by(token: AccessToken) -> ActedBy:
    """What the row, the journal and the fact say of the caller (delegation.md §3, check 7)."""
    return ActedBy(
        client_id=token.client_id,
        person_id=token.person_id,
        cabinet_id=token.actor.cabinet_id if token.actor else None,
        mandate_id=token.mandate.id if token.mandate else None,
        mandate_version=token.mandate.version if token.mandate else None,
        token_jti=token.jti,
        machine_id=token.actor.machine_id if token.actor else None,
        sponsor_id=token.actor.sponsor_id if token.actor else None,
    )


def _hold(token: AccessToken, scope: str) -> None:
    if scope not in token.scopes:
        raise InsufficientScope(scope)


def _belong(token: AccessToken, adherent_id: UUID) -> None:
    if token.adherent_id != adherent_id:
        raise NotFound("another firm")

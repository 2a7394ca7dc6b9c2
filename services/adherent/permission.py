"""Proofs that the caller, adhérent, cabinet or service, may read what it asks for."""

from typing import NamedTuple, NewType
from uuid import UUID

from libs.common.access.access_token import AccessToken
from libs.common.access.reach import establishments_of, reach_the_whole_firm
from libs.common.access.refusals import InsufficientScope
from libs.common.refusals import NotFound
from libs.common.values.caisse_slug import CaisseSlug

AdherentId = NewType("AdherentId", UUID)
"""The adhérent that an address names, `adh_…`, not yet compared with the token."""

FILE_SCOPES = ("declaration.read", "attestation.read")
STANDING_SCOPES = ("attestation.read", "standing.read")
STATEMENT_SCOPES = ("payment.read",)
ACTS_SCOPES = ("declaration.read", "attestation.read", "payment.read")


class MayReadFile(NamedTuple):
    """Proof that the caller may read this adhérent's file; `establishments` is None for all of them."""

    caisse: CaisseSlug
    adherent_id: UUID
    establishments: frozenset[UUID] | None


class MayReadStanding(NamedTuple):
    """Proof that the caller may know whether this adhérent is up to date, and why not."""

    caisse: CaisseSlug
    adherent_id: UUID


class MayReadStatements(NamedTuple):
    """Proof that the caller may read what this adhérent owes and paid; `establishments` as in `MayReadFile`."""

    caisse: CaisseSlug
    adherent_id: UUID
    establishments: frozenset[UUID] | None


class MayReadActs(NamedTuple):
    """Proof that the caller is the firm itself, which may know who did what in its name."""

    caisse: CaisseSlug
    adherent_id: UUID


def may_read_file(token: AccessToken, adherent_id: UUID) -> MayReadFile:
    _hold_one_of(token, FILE_SCOPES)
    _belong(token, adherent_id)
    return MayReadFile(token.caisse, adherent_id, establishments_of(token))


def may_read_standing(token: AccessToken, adherent_id: UUID) -> MayReadStanding:
    """A service with `standing.read` may ask for any firm of its caisse; nobody else for another's.

    It is the legal unit that is up to date, or not: a mandate for some establishments does not tell. Raises
    `BeyondMandate`.
    """
    _hold_one_of(token, STANDING_SCOPES)
    if not (token.is_service and "standing.read" in token.scopes):
        _belong(token, adherent_id)
    reach_the_whole_firm(token)
    return MayReadStanding(token.caisse, adherent_id)


def may_read_statements(token: AccessToken, adherent_id: UUID) -> MayReadStatements:
    _hold_one_of(token, STATEMENT_SCOPES)
    _belong(token, adherent_id)
    return MayReadStatements(token.caisse, adherent_id, establishments_of(token))


def may_read_acts(token: AccessToken, adherent_id: UUID) -> MayReadActs:
    _hold_one_of(token, ACTS_SCOPES)
    _belong(token, adherent_id)
    return MayReadActs(token.caisse, adherent_id)


def _hold_one_of(token: AccessToken, scopes: tuple[str, ...]) -> None:
    if not token.scopes.intersection(scopes):
        raise InsufficientScope("scope", scope=" ".join(scopes))


def _belong(token: AccessToken, adherent_id: UUID) -> None:
    # Another firm and an unknown one are the same answer.
    if token.adherent_id != adherent_id:
        raise NotFound("another firm")

"""Who may speak for a firm, and who for a cabinet: proofs that one must hold to act on a mandate."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from libs.common.database.transaction import Tx
from libs.common.refusals import DomainError, NotFound
from services.identity.delegation import store
from services.identity.delegation.mandate import Side
from services.identity.sign_in.prove_again import StepUpRequired
from services.identity.sign_in.session import Session, fresh_step_up


class NotAdministrator(DomainError):
    """A person of the firm, but not one of its administrators."""


class NotCabinetAdmin(DomainError):
    """A collaborator of the cabinet, but neither its owner nor an administrator."""


class SecondFactorMissing(StepUpRequired):
    """A cabinet's people act only with two factors, without exception."""


class BothSides(DomainError):
    """The same person would stand on both sides of the mandate: consent must come from the other."""


class Hand(NamedTuple):
    """Whoever moves a mandate: a side, and the person if it is not a clock."""

    side: Side
    person_id: UUID | None = None


CLOCK = Hand("clock")
SYSTEM = Hand("system")


class MayManageMandates(NamedTuple):
    """Proof that the person administers this adhérent, in this session, and whether it stepped up."""

    person_id: UUID
    adherent_id: UUID
    is_stepped_up: bool

    @property
    def hand(self) -> Hand:
        return Hand("adherent", self.person_id)

    def stepped_up(self) -> "MayManageMandates":
        """The same proof, for what gives power. Raises `StepUpRequired`."""
        if not self.is_stepped_up:
            raise StepUpRequired
        return self


class MayAnswerForCabinet(NamedTuple):
    """Proof that the person is owner or administrator of this cabinet, with two factors."""

    person_id: UUID
    cabinet_id: UUID

    @property
    def hand(self) -> Hand:
        return Hand("cabinet", self.person_id)


async def may_manage_mandates(
    tx: Tx, person_id: UUID, adherent_id: UUID, *, is_stepped_up: bool
) -> MayManageMandates:
    """Raises `NotFound` for a stranger to the firm, `NotAdministrator` for its other people."""
    is_administrator = await store.administers(tx, person_id, adherent_id)
    if is_administrator is None:
        raise NotFound
    if not is_administrator:
        raise NotAdministrator
    return MayManageMandates(person_id, adherent_id, is_stepped_up)


async def administrator_in(tx: Tx, session: Session, adherent_id: UUID, now: datetime) -> MayManageMandates:
    """The administrator behind a session of the pages. Raises as `may_manage_mandates`."""
    stepped_up = fresh_step_up(session, now)
    return await may_manage_mandates(tx, session.person_id, adherent_id, is_stepped_up=stepped_up)


async def may_answer_for_cabinet(
    tx: Tx, person_id: UUID, cabinet_id: UUID, *, acr: str | None
) -> MayAnswerForCabinet:
    """Raises `NotFound` for a stranger to the cabinet, `NotCabinetAdmin`, `SecondFactorMissing`."""
    role = await store.role_in_cabinet(tx, person_id, cabinet_id)
    if role is None:
        raise NotFound
    if acr != "mfa":
        raise SecondFactorMissing
    if role not in ("owner", "admin"):
        raise NotCabinetAdmin
    return MayAnswerForCabinet(person_id, cabinet_id)


async def refuse_both_sides(tx: Tx, person_id: UUID, adherent_id: UUID, cabinet_id: UUID) -> None:
    """An accountant who also holds the firm's account cannot consent to its own power. Raises `BothSides`."""
    administers = await store.administers(tx, person_id, adherent_id)
    if administers and await store.role_in_cabinet(tx, person_id, cabinet_id) is not None:
        raise BothSides

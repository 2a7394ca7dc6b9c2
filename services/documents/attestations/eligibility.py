"""May this firm be attested up to date? Asked of the adherent service, never guessed."""

from datetime import date, datetime
from typing import Protocol, runtime_checkable
from uuid import UUID

import msgspec

from libs.common.refusals import DomainError, Unavailable
from libs.common.values.caisse_slug import CaisseSlug


class EligibilityUnavailable(Unavailable):
    """The adherent service does not answer, or knows too little: an outage, never a refusal."""


class JudgedFirm(msgspec.Struct, frozen=True, kw_only=True):
    """The firm as the judgement saw it."""

    adherent_number: str
    legal_name: str
    siren: str | None = None
    siret: str | None = None


class Reason(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why not, and what mends it; `remedy` is a French sentence."""

    code: str
    remedy: str
    period: str | None = None
    kind: str | None = None
    establishment: str | None = None
    adherent_number: str | None = None
    amount_cents: int | None = None
    due_on: date | None = None


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """The standing at one instant. `raw` is the whole answer, inputs included, as it will be frozen."""

    is_up_to_date: bool
    judged_at: datetime
    as_of: date
    member: JudgedFirm
    reasons: list[Reason]
    raw: bytes = b""


@runtime_checkable
class Eligibility(Protocol):
    """Who is asked for a firm's standing."""

    async def judge(self, caisse: CaisseSlug, adherent_id: UUID) -> Judgement:
        """Raises `NotFound` for an unknown firm and `EligibilityUnavailable` when there is no answer."""
        ...


class NotUpToDate(DomainError):
    """Something due is missing somewhere in the legal unit; each reason says what."""

    def __init__(self, reasons: list[Reason]) -> None:
        super().__init__(", ".join(sorted({reason.code for reason in reasons})))
        self.reasons = reasons

    @property
    def members(self) -> dict[str, object]:
        return {"reasons": msgspec.to_builtins(self.reasons)}


def read_judgement(body: bytes) -> Judgement:
    """The answer of the adherent service. Raises `EligibilityUnavailable` when it is not one."""
    try:
        return msgspec.structs.replace(msgspec.json.decode(body, type=Judgement), raw=body)
    except msgspec.MsgspecError as error:
        raise EligibilityUnavailable("unreadable standing") from error

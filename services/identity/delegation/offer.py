"""A firm offers a mandate to its cabinet, for the first time or by renewing a former authorisation."""

from datetime import datetime
from uuid import UUID

from libs.common.database.transaction import Tx
from libs.common.refusals import DomainError, NotFound
from libs.common.values.identifiers import new_id, public_id
from services.identity.delegation import store, write_down
from services.identity.delegation.begun import begun_mandate
from services.identity.delegation.clocks import settle
from services.identity.delegation.mandate import Mandate, MandateChanged, NotPossible
from services.identity.delegation.notices import Notices
from services.identity.delegation.once import Receipt, already_done, mandate_of_adherent
from services.identity.delegation.parties import MayManageMandates
from services.identity.delegation.terms import Terms, check_terms


class TwinExists(DomainError):
    """This cabinet already has a live mandate, or one waiting, in the same family."""

    def __init__(self, mandate_id: UUID) -> None:
        super().__init__(public_id("mdt", mandate_id))
        self.mandate_id = mandate_id
        self.members = {"mandate": public_id("mdt", mandate_id)}


class CabinetNotEligible(DomainError):
    """The cabinet is struck off, or refused by this caisse."""


async def offer(
    tx: Tx,
    by: MayManageMandates,
    cabinet_id: UUID,
    terms: Terms,
    *,
    key: str,
    now: datetime,
    notices: Notices,
    former_id: UUID | None = None,
) -> Receipt:
    """Offer `terms` to the cabinet: one mandate in each family of the terms, one gesture, one receipt.

    With `former_id`, the former authorisation itself becomes the offer of its
    family (and names the cabinet: `cabinet_id` must be its own). Nothing is granted
    before the cabinet accepts, within 30 days; due at noon is over at noon.

    Records `MandateOffered` for each. Raises `StepUpRequired`, `InvalidTerms`,
    `CabinetNotEligible`, `TwinExists`, `NotPossible`, `KeyReused`; `NotFound` for a firm struck off.
    """
    by = by.stepped_up()
    families = tuple(terms.grants)
    ids = {family: new_id() for family in families}
    former = None if former_id is None else await _former(tx, by, former_id, cabinet_id)
    if former is not None and former.family in ids:
        ids[former.family] = former.id
    asked = (by.adherent_id, cabinet_id, former_id, terms)
    if done := await already_done(tx, key, "offer", by.person_id, list(ids.values()), now, asked=asked):
        return done
    if not await store.stays_member(tx, by.adherent_id):
        raise NotFound
    own = await store.establishments_of(tx, by.adherent_id)
    terms = check_terms(terms, establishments=own, now=now)
    if not await store.may_be_given_power(tx, cabinet_id):
        raise CabinetNotEligible
    # What a clock already ended must not stand in the way as a live twin.
    await settle(tx, now, adherent_id=by.adherent_id)

    gesture_id = new_id()
    offered: list[Mandate] = []
    for family in families:
        begun = begun_mandate(
            "offered",
            ids[family],
            by.adherent_id,
            cabinet_id,
            family,
            terms,
            gesture_id=gesture_id,
            proposed_by=by.person_id,
            now=now,
        )
        if former is not None and former.id == begun.id:
            offered.append(await _renewed(tx, by, former, begun, now))
        else:
            offered.append(await _begun(tx, by, begun, now))
    await notices.offered(tx, offered, now)
    return Receipt(tuple(offered))


async def _begun(tx: Tx, by: MayManageMandates, begun: Mandate, now: datetime) -> Mandate:
    twin = await store.live_twin(tx, begun.adherent_id, begun.cabinet_id, begun.family)
    if twin is not None:
        raise TwinExists(twin.id)
    if not await write_down.begin(tx, begun, "offered", by.hand, now):
        raise MandateChanged
    return begun


async def _former(tx: Tx, by: MayManageMandates, former_id: UUID, cabinet_id: UUID) -> Mandate:
    former = await mandate_of_adherent(tx, former_id, by.adherent_id)
    if former.cabinet_id != cabinet_id:
        raise NotFound
    return former


async def _renewed(tx: Tx, by: MayManageMandates, former: Mandate, begun: Mandate, now: datetime) -> Mandate:
    if former.state != "legacy_lapsed":
        raise NotPossible
    twin = await store.live_twin(tx, former.adherent_id, former.cabinet_id, former.family)
    if twin is not None:
        raise TwinExists(twin.id)
    return await write_down.move(
        tx,
        former,
        "offered",
        by.hand,
        now,
        role=begun.role,
        scopes=begun.scopes,
        establishments=begun.establishments,
        starts_on=begun.starts_on,
        ends_on=begun.ends_on,
        amount_cap_cents=begun.amount_cap_cents,
        machine=begun.machine,
        document_categories=begun.document_categories,
        answer_by=begun.answer_by,
        gesture_id=begun.gesture_id,
        proposed_by=by.person_id,
    )

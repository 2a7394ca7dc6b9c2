"""The other side says yes, and the mandate is in force; a principal in its place leaves at the same instant."""

from datetime import datetime
from uuid import UUID

from libs.common.database.transaction import Tx
from services.identity.delegation import store, write_down
from services.identity.delegation.mandate import Mandate
from services.identity.delegation.notices import Notices
from services.identity.delegation.offer import CabinetNotEligible
from services.identity.delegation.once import Receipt, already_done, mandate_of_adherent, mandate_of_cabinet
from services.identity.delegation.parties import (
    Hand,
    MayAnswerForCabinet,
    MayManageMandates,
    refuse_both_sides,
)


async def accept_offer(
    tx: Tx, by: MayAnswerForCabinet, mandate_id: UUID, *, key: str, now: datetime, notices: Notices
) -> Receipt:
    """The cabinet takes what the firm offered.

    Records `MandateActivated`, and `MandateReplaced` with a floor for the principal
    whose place it takes, in the same transaction. Raises `NotFound`, `NotPossible`,
    `Lapsed`, `WrongSide` (its own request), `BothSides`, `CabinetNotEligible`,
    `MandateChanged`, `KeyReused`.
    """
    mandate = await mandate_of_cabinet(tx, mandate_id, by.cabinet_id)
    return await _accept(tx, mandate, by.hand, by.person_id, key=key, now=now, notices=notices)


async def accept_request(
    tx: Tx, by: MayManageMandates, mandate_id: UUID, *, key: str, now: datetime, notices: Notices
) -> Receipt:
    """The firm's administrator grants what the cabinet asked, having been shown who is replaced.

    As `accept_offer`, and raises `StepUpRequired`.
    """
    by = by.stepped_up()
    mandate = await mandate_of_adherent(tx, mandate_id, by.adherent_id)
    return await _accept(tx, mandate, by.hand, by.person_id, key=key, now=now, notices=notices)


async def _accept(
    tx: Tx, mandate: Mandate, by: Hand, person_id: UUID, *, key: str, now: datetime, notices: Notices
) -> Receipt:
    if done := await already_done(tx, key, "accept", person_id, [mandate.id], now, asked=mandate.id):
        return done
    await refuse_both_sides(tx, person_id, mandate.adherent_id, mandate.cabinet_id)
    if not await store.may_be_given_power(tx, mandate.cabinet_id):
        raise CabinetNotEligible
    replaced = await replace_principal(tx, mandate, by, now)
    active = await write_down.move(tx, mandate, "activated", by, now)
    await notices.activated(tx, active, now)
    return Receipt((active,), replaced)


async def replace_principal(tx: Tx, new: Mandate, by: Hand, now: datetime) -> tuple[Mandate, ...]:
    """Make room for `new`: the principal in force leaves, booked on whoever accepted, not on whoever lost.

    It comes first, since only one principal may stand in the index at any statement. Both are held
    before, the older id first: a renewed authorisation is older than the principal it replaces, and a sweep
    that voids both takes it first.
    """
    if new.role != "principal" or new.state not in ("requested", "offered"):
        return ()
    former = await store.principal_in_force(tx, new.adherent_id, new.family)
    if former is None:
        return ()
    await store.hold(tx, [former.id, new.id])
    told = {"replaced_by": new.id}
    return (await write_down.move(tx, former, "replaced", by, now, told=told),)

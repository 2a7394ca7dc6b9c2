"""A cabinet asks a firm for a mandate; it gives nothing before the firm's administrator accepts."""

from datetime import datetime
from uuid import UUID

from libs.common.database.transaction import Tx
from libs.common.refusals import NotFound
from libs.common.values.identifiers import new_id
from services.identity.delegation import store, write_down
from services.identity.delegation.begun import begun_mandate
from services.identity.delegation.clocks import settle
from services.identity.delegation.mandate import Mandate, MandateChanged
from services.identity.delegation.offer import CabinetNotEligible, TwinExists
from services.identity.delegation.once import Receipt, already_done
from services.identity.delegation.parties import MayAnswerForCabinet
from services.identity.delegation.terms import Terms, check_terms


async def request(
    tx: Tx, by: MayAnswerForCabinet, adherent_id: UUID, terms: Terms, *, key: str, now: datetime
) -> Receipt:
    """Ask for `terms`, one mandate in each of their families, to be answered within 30 days.

    The caller has already shown that it knows this client: an unknown adhérent must
    answer like a known one. Records `MandateRequested`. Raises `InvalidTerms`,
    `CabinetNotEligible`, `TwinExists`, `KeyReused`; `NotFound` for a firm struck off.
    """
    ids = {family: new_id() for family in terms.grants}
    asked = (by.cabinet_id, adherent_id, terms)
    if done := await already_done(tx, key, "request", by.person_id, list(ids.values()), now, asked=asked):
        return done
    if not await store.stays_member(tx, adherent_id):
        raise NotFound
    own = await store.establishments_of(tx, adherent_id)
    terms = check_terms(terms, establishments=own, now=now)
    if not await store.may_be_given_power(tx, by.cabinet_id):
        raise CabinetNotEligible
    await settle(tx, now, adherent_id=adherent_id)
    gesture_id = new_id()
    requested: list[Mandate] = []
    for family in terms.grants:
        mandate = begun_mandate(
            "requested",
            ids[family],
            adherent_id,
            by.cabinet_id,
            family,
            terms,
            gesture_id=gesture_id,
            proposed_by=by.person_id,
            now=now,
        )
        if twin := await store.live_twin(tx, adherent_id, by.cabinet_id, family):
            raise TwinExists(twin.id)
        if not await write_down.begin(tx, mandate, "requested", by.hand, now):
            raise MandateChanged
        requested.append(mandate)
    return Receipt(tuple(requested))

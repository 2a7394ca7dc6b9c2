"""Pages that renew a former authorisation: one click on a filled form, and the step-up."""

from datetime import datetime
from typing import Any

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from libs.common.database.pool import Database
from libs.common.database.transaction import Tx
from libs.common.http.application import Clock
from libs.common.http.forms import read_form
from libs.common.refusals import NotFound
from libs.common.values.identifiers import new_id, parse_public_id, public_id
from services.identity.cabinets import store as cabinets
from services.identity.delegation import form, reading_store
from services.identity.delegation.mandate import Mandate, NotPossible
from services.identity.delegation.notices import Notices
from services.identity.delegation.offer import TwinExists
from services.identity.delegation.parties import MayManageMandates, administrator_in
from services.identity.delegation.proposal_pages import Proposal, account_of, check_page, terms_page
from services.identity.delegation.renew_former import renew_former, usual_terms
from services.identity.sign_in.session import Session
from services.identity.site.routes import AnyRequest, Site


@get("/delegations/{mandate:str}/renew", access="session")
async def show_renewal(
    request: AnyRequest,
    mandate: FromPath[str],
    site: NamedDependency[Site],
    session: NamedDependency[Session],
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """A former authorisation as a filled form, shown after the step-up; one click renews it."""
    now = clock()
    async with db.transaction(site.slug) as tx:
        former, by = await _former(tx, session, mandate, now)
        shown = Proposal(
            by.stepped_up(),
            former.cabinet_id,
            usual_terms(former, now),
            f"/delegations/{mandate}/renew",
            former=mandate,
            key=str(new_id()),
        )
        return await check_page(tx, request, site, shown)


@post("/delegations/{mandate:str}/renew", access="session", status_code=303)
async def renew(
    request: AnyRequest,
    mandate: FromPath[str],
    site: NamedDependency[Site],
    session: NamedDependency[Session],
    db: NamedDependency[Database],
    notices: NamedDependency[Notices],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """Renew as shown; pressed twice, it is done once."""
    posted = await read_form(request)
    now, former_id = clock(), parse_public_id("mdt", mandate)
    try:
        async with db.transaction(site.slug) as tx:
            listed = await reading_store.listed(tx, former_id)
            if listed is None:
                raise NotFound
            by = await administrator_in(tx, session, listed.mandate.adherent_id, now)
            key = posted.text("key")
            receipt = await renew_former(tx, by, former_id, key=key, now=now, notices=notices)
    except TwinExists as twin:
        return site.go(f"/delegations/{public_id('mdt', twin.mandate_id)}?notice=twin")
    return site.go(f"/delegations/receipts/{public_id('gst', receipt.mandate.gesture_id)}")


@get("/delegations/{mandate:str}/renew/terms", access="session")
async def show_renewal_terms(
    request: AnyRequest,
    mandate: FromPath[str],
    site: NamedDependency[Site],
    session: NamedDependency[Session],
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """The same form, for whoever wants other terms than the usual ones."""
    now = clock()
    async with db.transaction(site.slug) as tx:
        former, by = await _former(tx, session, mandate, now)
        account = await account_of(tx, by.person_id, by.adherent_id)
        cabinet = await cabinets.find(tx, former.cabinet_id)
        own = await reading_store.places_of(tx, by.adherent_id)
    if cabinet is None:
        raise NotFound
    return terms_page(request, site, account, cabinet, own, form.blank(now), former=mandate)


async def _former(tx: Tx, session: Session, mandate: str, now: datetime) -> tuple[Mandate, MayManageMandates]:
    listed = await reading_store.listed(tx, parse_public_id("mdt", mandate))
    if listed is None:
        raise NotFound
    by = await administrator_in(tx, session, listed.mandate.adherent_id, now)
    if listed.mandate.state != "legacy_lapsed":
        raise NotPossible
    return listed.mandate, by


ROUTES = [show_renewal, renew, show_renewal_terms]

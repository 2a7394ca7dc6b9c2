"""The cabinet's workspace: its clients, the offers it has to answer, and giving a mandate up."""

import re
from datetime import datetime
from typing import Any
from uuid import UUID

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from libs.common.database.pool import Database
from libs.common.database.transaction import Tx
from libs.common.http.application import Clock
from libs.common.http.forms import read_form
from libs.common.http.problems import PROBLEMS, Problem
from libs.common.refusals import NotFound
from libs.common.values.identifiers import new_id, parse_public_id, public_id
from services.identity.cabinets import machine_store, store
from services.identity.cabinets.access_groups import add_to_group
from services.identity.cabinets.friendly_code import shown
from services.identity.cabinets.leave import LastOwner
from services.identity.cabinets.machines import keys_of
from services.identity.cabinets.portfolio import portfolio
from services.identity.cabinets.register import CabinetExists
from services.identity.cabinets.store import Membership
from services.identity.delegation import reading_store
from services.identity.delegation.accept import accept_offer
from services.identity.delegation.decline import decline
from services.identity.delegation.mandate import NotPossible
from services.identity.delegation.notices import Notices
from services.identity.delegation.once import mandate_of_cabinet
from services.identity.delegation.parties import (
    MayAnswerForCabinet,
    NotCabinetAdmin,
    SecondFactorMissing,
    may_answer_for_cabinet,
)
from services.identity.delegation.reading_store import Listed
from services.identity.delegation.resign import resign
from services.identity.delegation.shown import card, places, promise, tense, told_acts, told_history
from services.identity.delegation.wording import FAMILY
from services.identity.sign_in.session import Session
from services.identity.site.routes import AnyRequest, Site

PROBLEMS.update(
    {
        CabinetExists: Problem(409, "cabinet-exists", "Ce cabinet est déjà connu."),
        LastOwner: Problem(409, "last-owner", "Le dernier responsable d’un cabinet ne peut pas le quitter."),
    }
)

PER_PAGE = 50
ACTS_SHOWN = 100


@get("/cabinet", access="session")
async def show_cabinet(
    request: AnyRequest,
    site: NamedDependency[Site],
    session: NamedDependency[Session],
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """Offers waiting for an answer, the clients this collaborator may act for, and the cabinet's software."""
    now = clock()
    search = request.query_params.get("search", "")[:100]
    page = _page_number(request.query_params.get("page", ""))
    async with db.transaction(site.slug) as tx:
        membership, every = await _membership(tx, request, session)
        cabinet = await store.find(tx, membership.cabinet_id)
        waiting = await store.waiting(tx, membership.cabinet_id, session.person_id, now)
        clients = await portfolio(
            tx,
            session.person_id,
            membership.cabinet_id,
            now=now,
            search=search,
            page=page,
            per_page=PER_PAGE,
        )
        software = await machine_store.every(tx, membership.cabinet_id)
    assert cabinet is not None, "a membership has its cabinet"
    return site.page(
        request,
        "cabinet.html",
        machines=[(one, len(keys_of(one))) for one in software],
        cabinet=cabinet,
        cabinet_id=public_id("cab", cabinet.id),
        code=shown(cabinet.friendly_code) if cabinet.friendly_code else "",
        cabinets=[(public_id("cab", one.cabinet_id), one.name) for one in every],
        waiting=[(public_id("mdt", one.mandate_id), FAMILY[one.family], one) for one in waiting],
        clients=[
            (public_id("mdt", one.power.mandate_id), FAMILY[one.power.family], one) for one in clients.clients
        ],
        search=search,
        page=page,
        has_more=clients.has_more,
        may_answer=membership.role in ("owner", "admin"),
    )


@get("/cabinet/mandates/{mandate:str}", access="session")
async def show_client_mandate(
    request: AnyRequest,
    mandate: FromPath[str],
    site: NamedDependency[Site],
    session: NamedDependency[Session],
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """The terms as the cabinet sees them, with accept, decline or resign."""
    async with db.transaction(site.slug) as tx:
        listed, membership = await _listed(tx, session, mandate, clock())
        own = await reading_store.places_of(tx, listed.mandate.adherent_id)
        cabinet = await store.find(tx, membership.cabinet_id)
        groups = await store.groups_of(tx, membership.cabinet_id)
        acts = await reading_store.acts(tx, listed.mandate.id, ACTS_SHOWN)
        history = await reading_store.history(tx, listed.mandate.id)
    is_open = cabinet is not None and cabinet.open_to_all
    return site.page(
        request,
        "cabinet_mandate.html",
        card=card(listed),
        mandate=listed.mandate,
        tense=tense(listed.mandate, clock()),
        is_over=listed.mandate.is_over(clock()) or listed.mandate.is_unanswered(clock()),
        promise=promise(listed.mandate.scopes, to_cabinet=True),
        places=places(listed.mandate.establishments, own),
        cabinet_id=public_id("cab", membership.cabinet_id),
        may_answer=membership.role in ("owner", "admin"),
        groups=[] if is_open else [(public_id("grp", group.id), group.name) for group in groups],
        is_open=is_open,
        acts=told_acts(acts),
        history=told_history(history),
        notice=request.query_params.get("notice", ""),
        key=str(new_id()),
    )


@post("/cabinet/mandates/{mandate:str}/accept", access="session", status_code=303)
async def accept(
    request: AnyRequest,
    mandate: FromPath[str],
    site: NamedDependency[Site],
    session: NamedDependency[Session],
    db: NamedDependency[Database],
    notices: NamedDependency[Notices],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """Take the offer, and let the ticked groups see the client."""
    posted = await read_form(request)
    async with db.transaction(site.slug) as tx:
        by, mandate_id = await _answering(tx, session, mandate, clock())
        receipt = await accept_offer(tx, by, mandate_id, key=posted.text("key"), now=clock(), notices=notices)
        for group in posted.all("groups"):
            group_id = parse_public_id("grp", group)
            await add_to_group(tx, by, group_id, clients=[receipt.mandate.adherent_id], now=clock())
    return site.go(f"/cabinet/mandates/{mandate}?notice=activated")


@post("/cabinet/mandates/{mandate:str}/decline", access="session", status_code=303)
async def decline_offer(
    request: AnyRequest,
    mandate: FromPath[str],
    site: NamedDependency[Site],
    session: NamedDependency[Session],
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """Refuse the offer."""
    posted = await read_form(request)
    async with db.transaction(site.slug) as tx:
        by, mandate_id = await _answering(tx, session, mandate, clock())
        await decline(tx, by, mandate_id, key=posted.text("key"), now=clock())
    return site.go(f"/cabinet/mandates/{mandate}?notice=declined")


@get("/cabinet/mandates/{mandate:str}/resign", access="session")
async def show_resign(
    request: AnyRequest,
    mandate: FromPath[str],
    site: NamedDependency[Site],
    session: NamedDependency[Session],
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """What giving up does, before it is done."""
    async with db.transaction(site.slug) as tx:
        listed, membership = await _listed(tx, session, mandate, clock())
    if listed.mandate.state not in ("active", "suspended"):
        raise NotPossible
    if membership.role not in ("owner", "admin"):
        raise NotCabinetAdmin
    return site.page(request, "cabinet_resign.html", card=card(listed), key=str(new_id()))


@post("/cabinet/mandates/{mandate:str}/resign", access="session", status_code=303)
async def resign_mandate(
    request: AnyRequest,
    mandate: FromPath[str],
    site: NamedDependency[Site],
    session: NamedDependency[Session],
    db: NamedDependency[Database],
    notices: NamedDependency[Notices],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """Give the mandate up."""
    posted = await read_form(request)
    async with db.transaction(site.slug) as tx:
        by, mandate_id = await _answering(tx, session, mandate, clock())
        await resign(tx, by, mandate_id, key=posted.text("key"), now=clock(), notices=notices)
    return site.go(f"/cabinet/mandates/{mandate}?notice=resigned")


async def _membership(tx: Tx, request: AnyRequest, session: Session) -> tuple[Membership, list[Membership]]:
    """The cabinet meant by `?cabinet=`, or the person's first one. Two factors, without exception."""
    every = await store.memberships(tx, session.person_id)
    wanted = request.query_params.get("cabinet", "")
    chosen = every
    if wanted:
        cabinet_id = parse_public_id("cab", wanted)
        chosen = [one for one in every if one.cabinet_id == cabinet_id]
    if not chosen:
        raise NotFound
    _two_factors(session)
    return chosen[0], every


async def _listed(tx: Tx, session: Session, mandate: str, now: datetime) -> tuple[Listed, Membership]:
    """A mandate of a cabinet of this person; an unknown one, another's, and one in no group of theirs alike."""
    listed = await reading_store.listed(tx, parse_public_id("mdt", mandate))
    if listed is not None and listed.mandate.state != "legacy_lapsed":
        for one in await store.memberships(tx, session.person_id):
            if one.cabinet_id == listed.mandate.cabinet_id and await store.sees(
                tx, session.person_id, listed.mandate.id, now
            ):
                _two_factors(session)
                return listed, one
    raise NotFound


async def _answering(
    tx: Tx, session: Session, mandate: str, now: datetime
) -> tuple[MayAnswerForCabinet, UUID]:
    listed, membership = await _listed(tx, session, mandate, now)
    by = await may_answer_for_cabinet(tx, session.person_id, membership.cabinet_id, acr=session.acr)
    found = await mandate_of_cabinet(tx, listed.mandate.id, by.cabinet_id)
    return by, found.id


def _two_factors(session: Session) -> None:
    if session.acr != "mfa":
        raise SecondFactorMissing


def _page_number(typed: str) -> int:
    return int(typed) if re.fullmatch("[1-9][0-9]{0,3}", typed) else 1


ROUTES = [
    show_cabinet,
    show_client_mandate,
    accept,
    decline_offer,
    show_resign,
    resign_mandate,
]

"""The page of one mandate, for the firm: its terms, its ledger, and what the firm can do about it."""

from datetime import datetime
from typing import Any

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from libs.common.database.pool import Database
from libs.common.database.transaction import Tx
from libs.common.http.application import Clock
from libs.common.http.forms import Form, read_form
from libs.common.refusals import NotFound
from libs.common.values.identifiers import new_id, parse_public_id, public_id
from libs.common.values.money import InvalidAmount, parse_euros
from libs.common.values.sentence import Sentence
from services.identity.delegation import form, reading_store
from services.identity.delegation.accept import accept_request
from services.identity.delegation.decline import decline
from services.identity.delegation.mandate import Mandate, NotPossible
from services.identity.delegation.narrow import Less, narrow, what_remains
from services.identity.delegation.notices import Notices
from services.identity.delegation.parties import MayManageMandates, administrator_in
from services.identity.delegation.reading_store import Listed
from services.identity.delegation.revoke import revoke
from services.identity.delegation.shown import card, places, promise, tense, told_acts, told_history
from services.identity.delegation.suspend import resume, suspend
from services.identity.delegation.terms import InvalidTerms
from services.identity.delegation.withdraw import withdraw
from services.identity.delegation.wording import RIGHT, in_order
from services.identity.sign_in.session import Session
from services.identity.site.routes import AnyRequest, Site

ACTS_SHOWN = 100


@get("/delegations/{mandate:str}", access="session")
async def show_mandate(
    request: AnyRequest,
    mandate: FromPath[str],
    site: NamedDependency[Site],
    session: NamedDependency[Session],
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """Terms, deadline, what was done and by whom, and the ways out."""
    now = clock()
    async with db.transaction(site.slug) as tx:
        listed, _ = await _mine(tx, session, mandate, now)
        acts = await reading_store.acts(tx, listed.mandate.id, ACTS_SHOWN)
        history = await reading_store.history(tx, listed.mandate.id)
        own = await reading_store.places_of(tx, listed.mandate.adherent_id)
        replaced = await _replaced_by(tx, listed.mandate)
    return site.page(
        request,
        "mandate.html",
        card=card(listed),
        mandate=listed.mandate,
        tense=tense(listed.mandate, now),
        is_over=listed.mandate.is_over(now) or listed.mandate.is_unanswered(now),
        promise=promise(listed.mandate.scopes),
        places=places(listed.mandate.establishments, own),
        acts=told_acts(acts),
        history=told_history(history),
        replaced=replaced,
        adherent=public_id("adh", listed.mandate.adherent_id),
        notice=request.query_params.get("notice", ""),
        key=str(new_id()),
    )


@get("/delegations/{mandate:str}/revoke", access="session")
async def show_revoke(
    request: AnyRequest,
    mandate: FromPath[str],
    site: NamedDependency[Site],
    session: NamedDependency[Session],
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """What revoking does, before it is done."""
    async with db.transaction(site.slug) as tx:
        listed, _ = await _mine(tx, session, mandate, clock())
    if listed.mandate.state not in ("active", "suspended"):
        raise NotPossible
    return site.page(request, "mandate_revoke.html", card=card(listed), key=str(new_id()))


@post("/delegations/{mandate:str}/revoke", access="session", status_code=303)
async def revoke_mandate(
    request: AnyRequest,
    mandate: FromPath[str],
    site: NamedDependency[Site],
    session: NamedDependency[Session],
    db: NamedDependency[Database],
    notices: NamedDependency[Notices],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """Revoked: every service refuses the cabinet within a second."""
    posted = await read_form(request)
    async with db.transaction(site.slug) as tx:
        listed, by = await _mine(tx, session, mandate, clock())
        await revoke(tx, by, listed.mandate.id, key=posted.text("key"), now=clock(), notices=notices)
    return site.go(f"/delegations/{mandate}?notice=revoked")


@get("/delegations/{mandate:str}/narrow", access="session")
async def show_narrow(
    request: AnyRequest,
    mandate: FromPath[str],
    site: NamedDependency[Site],
    session: NamedDependency[Session],
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """The present terms, from which things may only be taken away."""
    async with db.transaction(site.slug) as tx:
        listed, _ = await _mine(tx, session, mandate, clock())
        if listed.mandate.state != "active":
            raise NotPossible
        return await _narrow_page(tx, request, site, listed, what_remains(listed.mandate), key=str(new_id()))


@post("/delegations/{mandate:str}/narrow", access="session", status_code=303)
async def narrow_mandate(
    request: AnyRequest,
    mandate: FromPath[str],
    site: NamedDependency[Site],
    session: NamedDependency[Session],
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """Less, at once."""
    posted = await read_form(request)
    now = clock()
    async with db.transaction(site.slug) as tx:
        listed, by = await _mine(tx, session, mandate, now)
    if listed.mandate.state != "active":
        raise NotPossible
    errors: dict[str, Sentence] = {}
    less = _less(posted, listed.mandate, errors)
    if not errors:
        try:
            async with db.transaction(site.slug) as tx:
                await narrow(tx, by, listed.mandate.id, less, key=posted.text("key"), now=now)
        except InvalidTerms as refused:
            errors = refused.errors
    if errors:
        async with db.transaction(site.slug) as tx:
            return await _narrow_page(tx, request, site, listed, less, key=posted.text("key"), errors=errors)
    return site.go(f"/delegations/{mandate}?notice=narrowed")


@post("/delegations/{mandate:str}/withdraw", access="session", status_code=303)
async def withdraw_offer(
    request: AnyRequest,
    mandate: FromPath[str],
    site: NamedDependency[Site],
    session: NamedDependency[Session],
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """Take an unanswered offer back."""
    posted = await read_form(request)
    async with db.transaction(site.slug) as tx:
        listed, by = await _mine(tx, session, mandate, clock())
        await withdraw(tx, by, listed.mandate.id, key=posted.text("key"), now=clock())
    return site.go(f"/delegations/{mandate}?notice=withdrawn")


@post("/delegations/{mandate:str}/suspend", access="session", status_code=303)
async def suspend_mandate(
    request: AnyRequest,
    mandate: FromPath[str],
    site: NamedDependency[Site],
    session: NamedDependency[Session],
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """Set the power aside."""
    posted = await read_form(request)
    async with db.transaction(site.slug) as tx:
        listed, by = await _mine(tx, session, mandate, clock())
        await suspend(tx, by, listed.mandate.id, key=posted.text("key"), now=clock())
    return site.go(f"/delegations/{mandate}?notice=suspended")


@post("/delegations/{mandate:str}/resume", access="session", status_code=303)
async def resume_mandate(
    request: AnyRequest,
    mandate: FromPath[str],
    site: NamedDependency[Site],
    session: NamedDependency[Session],
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """Give the power back."""
    posted = await read_form(request)
    async with db.transaction(site.slug) as tx:
        listed, by = await _mine(tx, session, mandate, clock())
        await resume(tx, by, listed.mandate.id, key=posted.text("key"), now=clock())
    return site.go(f"/delegations/{mandate}?notice=resumed")


@get("/delegations/{mandate:str}/accept", access="session")
async def show_accept(mandate: FromPath[str], site: NamedDependency[Site]) -> Response[Any]:
    """Back from the step-up: the request again, with its two buttons."""
    return site.go(f"/delegations/{mandate}")


@post("/delegations/{mandate:str}/accept", access="session", status_code=303)
async def accept_the_request(
    request: AnyRequest,
    mandate: FromPath[str],
    site: NamedDependency[Site],
    session: NamedDependency[Session],
    db: NamedDependency[Database],
    notices: NamedDependency[Notices],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """Grant what the cabinet asked."""
    posted = await read_form(request)
    async with db.transaction(site.slug) as tx:
        listed, by = await _mine(tx, session, mandate, clock())
        key = posted.text("key")
        await accept_request(tx, by, listed.mandate.id, key=key, now=clock(), notices=notices)
    return site.go(f"/delegations/{mandate}?notice=activated")


@post("/delegations/{mandate:str}/decline", access="session", status_code=303)
async def decline_the_request(
    request: AnyRequest,
    mandate: FromPath[str],
    site: NamedDependency[Site],
    session: NamedDependency[Session],
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """Refuse what the cabinet asked."""
    posted = await read_form(request)
    async with db.transaction(site.slug) as tx:
        listed, by = await _mine(tx, session, mandate, clock())
        await decline(tx, by, listed.mandate.id, key=posted.text("key"), now=clock())
    return site.go(f"/delegations/{mandate}?notice=declined")


async def _mine(tx: Tx, session: Session, mandate: str, now: datetime) -> tuple[Listed, MayManageMandates]:
    listed = await reading_store.listed(tx, parse_public_id("mdt", mandate))
    if listed is None:
        raise NotFound
    return listed, await administrator_in(tx, session, listed.mandate.adherent_id, now)


async def _replaced_by(tx: Tx, mandate: Mandate) -> list[Any]:
    """Whom accepting this request would replace."""
    if mandate.state != "requested" or mandate.role != "principal":
        return []
    in_force = await reading_store.principals_in_force(tx, mandate.adherent_id, [mandate.family])
    return [card(listed) for listed in in_force]


def _less(posted: Form, mandate: Mandate, errors: dict[str, Sentence]) -> Less:
    present = what_remains(mandate)
    ends_on = form.read_date(posted, "ends_on", errors)
    cap = present.amount_cap_cents
    typed_cap = posted.text("amount_cap")
    if cap is not None and typed_cap:
        try:
            cap = parse_euros(typed_cap)
        except InvalidAmount as wrong:
            errors["amount_cap"] = wrong.reason
    return Less(
        frozenset(posted.all("scopes")),
        mandate.establishments if "*" in mandate.establishments else tuple(posted.all("establishments")),
        ends_on or present.ends_on,
        cap,
        posted.ticked("machine"),
    )


async def _narrow_page(
    tx: Tx,
    request: AnyRequest,
    site: Site,
    listed: Listed,
    less: Less,
    *,
    key: str,
    errors: dict[str, Sentence] | None = None,
) -> Response[Any]:
    mandate = listed.mandate
    own = await reading_store.places_of(tx, mandate.adherent_id)
    names = {public_id("est", place.id): place.name for place in own}
    return site.page(
        request,
        "mandate_narrow.html",
        status_code=422 if errors else 200,
        card=card(listed),
        mandate=mandate,
        less=less,
        rights=[(scope, RIGHT[scope]) for scope in in_order(mandate.scopes)],
        own=[(one, names.get(one, one)) for one in mandate.establishments if one != "*"],
        key=key,
        errors=errors or {},
    )


ROUTES = [
    show_mandate,
    show_revoke,
    revoke_mandate,
    show_narrow,
    narrow_mandate,
    withdraw_offer,
    suspend_mandate,
    resume_mandate,
    show_accept,
    accept_the_request,
    decline_the_request,
]

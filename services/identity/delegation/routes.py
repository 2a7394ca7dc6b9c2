"""Pages of "Gérer les droits d'accès": the firm's side of delegation. Who, what, and nothing else."""

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
from libs.common.values.identifiers import parse_public_id, public_id
from libs.common.values.invalid import InvalidValue
from libs.common.values.sentence import Sentence
from services.identity.cabinets import store as cabinets
from services.identity.cabinets.friendly_code import parse_cabinet_number
from services.identity.delegation import form, reading_store
from services.identity.delegation.draft import carry_out, find_draft, keep_draft
from services.identity.delegation.mandate import Lapsed, MandateChanged, NotPossible, WrongSide
from services.identity.delegation.notices import Notices
from services.identity.delegation.offer import CabinetNotEligible, TwinExists
from services.identity.delegation.once import KeyMissing, KeyReused
from services.identity.delegation.parties import (
    BothSides,
    NotAdministrator,
    NotCabinetAdmin,
    administrator_in,
)
from services.identity.delegation.proposal_pages import STEPS, Proposal, check_page, firm_of, terms_page
from services.identity.delegation.reading_store import Place
from services.identity.delegation.renewal.routes import ROUTES as RENEWAL
from services.identity.delegation.shown import card, places, promise, shelves
from services.identity.delegation.terms import InvalidTerms
from services.identity.sign_in.session import Session
from services.identity.site.routes import AnyRequest, Site

PROBLEMS.update(
    {
        NotPossible: Problem(409, "mandate-not-in-that-state", "Cette délégation n’est plus dans cet état."),
        Lapsed: Problem(409, "mandate-lapsed", "Le délai est passé : cette délégation n’est plus en cours."),
        WrongSide: Problem(403, "not-yours-to-decide", "Cette décision appartient à l’autre partie."),
        BothSides: Problem(403, "both-sides", "La même personne ne peut pas accepter des deux côtés."),
        MandateChanged: Problem(
            409, "mandate-changed", "Cette délégation vient de changer. Relisez-la avant de décider."
        ),
        TwinExists: Problem(
            409, "mandate-twin", "Une délégation à ce cabinet est déjà en cours pour ces droits."
        ),
        CabinetNotEligible: Problem(
            409, "cabinet-not-eligible", "Ce cabinet ne peut pas recevoir de délégation."
        ),
        InvalidTerms: Problem(422, "invalid-terms", "Les conditions de la délégation sont à corriger."),
        KeyReused: Problem(409, "key-reused", "Cette demande a déjà servi à autre chose."),
        KeyMissing: Problem(400, "key-missing", "Cette demande ne porte pas sa clé. Rechargez la page."),
        NotAdministrator: Problem(
            403, "administrator-only", "Seul un administrateur de l’entreprise gère les droits d’accès."
        ),
        NotCabinetAdmin: Problem(
            403, "cabinet-admin-only", "Seul un administrateur du cabinet répond pour lui."
        ),
    }
)


@get("/delegations", access="session")
async def show_delegations(
    request: AnyRequest,
    site: NamedDependency[Site],
    session: NamedDependency[Session],
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """People of the firm, then delegations: in force, waiting, former ones greyed, past ones."""
    return await _list_page(request, site, session, db, clock)


@get("/delegations/new", access="session")
async def show_terms(
    request: AnyRequest,
    site: NamedDependency[Site],
    session: NamedDependency[Session],
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """The cabinet shown back, and its rights to choose. An unknown cabinet goes back to its field.

    Links of other pages name no cabinet: nobody is reproached with what was not asked yet.
    """
    if "cabinet" not in request.query_params:
        return await _list_page(request, site, session, db, clock)
    typed = request.query_params.get("cabinet", "")
    now = clock()
    async with db.transaction(site.slug) as tx:
        account, _ = await firm_of(tx, request, session, now)
        try:
            cabinet = await cabinet_typed(tx, typed)
        except InvalidValue as wrong:
            cabinet, sentence = None, wrong.reason
        else:
            sentence = Sentence("Aucun cabinet connu ne porte ce numéro. Vérifiez-le avec votre cabinet.")
        own = await reading_store.places_of(tx, account.adherent_id)
    if cabinet is None:
        missing = Sentence("Indiquez le SIREN ou le code du cabinet.")
        errors = {"cabinet": sentence if typed else missing}
        return await _list_page(request, site, session, db, clock, typed=typed, errors=errors)
    return terms_page(request, site, account, cabinet, own, form.blank(now))


@post("/delegations/new", access="session", status_code=303)
async def choose_terms(
    request: AnyRequest,
    site: NamedDependency[Site],
    session: NamedDependency[Session],
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """Keep what was chosen, and show it back before anything is given."""
    posted = await read_form(request)
    typed = form.read(posted)
    now = clock()
    async with db.transaction(site.slug) as tx:
        account, by = await firm_of(tx, request, session, now, named=posted.text("adherent"))
        cabinet = await cabinet_typed(tx, posted.text("cabinet"))
        if cabinet is None:
            raise NotFound
        own = await reading_store.places_of(tx, account.adherent_id)
        former_id = _former_id(posted.text("former"))
        try:
            terms = form.terms_of(typed, establishments=_by_public_id(own), now=now)
        except InvalidTerms as refused:
            return terms_page(
                request,
                site,
                account,
                cabinet,
                own,
                typed,
                former=posted.text("former"),
                errors=refused.errors,
            )
        draft = await keep_draft(tx, by, cabinet.id, terms, former_id=former_id, now=now)
    return site.go(f"/delegations/drafts/{public_id('drf', draft.id)}")


@get("/delegations/drafts/{draft:str}", access="session")
async def show_check(
    request: AnyRequest,
    draft: FromPath[str],
    site: NamedDependency[Site],
    session: NamedDependency[Session],
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """What the cabinet will be able to do, what it will not, and who is replaced.

    Shown after the step-up, so that the button below it is the last thing one does,
    and the only one that gives.
    """
    now = clock()
    async with db.transaction(site.slug) as tx:
        kept = await find_draft(tx, parse_public_id("drf", draft), session.person_id, now)
        by = (await administrator_in(tx, session, kept.adherent_id, now)).stepped_up()
        shown = Proposal(by, kept.cabinet_id, kept.terms, f"/delegations/drafts/{draft}")
        return await check_page(tx, request, site, shown)


@post("/delegations/drafts/{draft:str}", access="session", status_code=303)
async def confirm(
    draft: FromPath[str],
    site: NamedDependency[Site],
    session: NamedDependency[Session],
    db: NamedDependency[Database],
    notices: NamedDependency[Notices],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """The button: what the page showed, once, in the five minutes after the step-up."""
    now = clock()
    try:
        async with db.transaction(site.slug) as tx:
            kept = await find_draft(tx, parse_public_id("drf", draft), session.person_id, now)
            by = await administrator_in(tx, session, kept.adherent_id, now)
            receipt = await carry_out(tx, by, kept, now=now, notices=notices)
    except TwinExists as twin:
        return site.go(f"/delegations/{public_id('mdt', twin.mandate_id)}?notice=twin")
    return site.go(f"/delegations/receipts/{public_id('gst', receipt.mandate.gesture_id)}")


@get("/delegations/receipts/{gesture:str}", access="session")
async def show_receipt(
    request: AnyRequest,
    gesture: FromPath[str],
    site: NamedDependency[Site],
    session: NamedDependency[Session],
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """What was offered by one gesture, to keep or to print."""
    async with db.transaction(site.slug) as tx:
        given = await reading_store.of_gesture(tx, parse_public_id("gst", gesture))
        if not given:
            raise NotFound
        await administrator_in(tx, session, given[0].mandate.adherent_id, clock())
        own = await reading_store.places_of(tx, given[0].mandate.adherent_id)
        history = await reading_store.history(tx, given[0].mandate.id)
    first = given[0].mandate
    return site.page(
        request,
        "delegation_receipt.html",
        cards=[card(listed) for listed in given],
        promise=promise(scope for one in given for scope in one.mandate.scopes),
        places=places(first.establishments, own),
        adherent=public_id("adh", first.adherent_id),
        # A renewed authorisation was written long before, by the import.
        proposed_at=next(line.at for line in history if line.event in ("offered", "requested")),
        steps=STEPS,
    )


async def cabinet_typed(tx: Tx, typed: str) -> cabinets.Cabinet | None:
    """The cabinet of a SIREN or a friendly code. Raises `InvalidValue` when it is neither."""
    siren, code = parse_cabinet_number(typed)
    return await cabinets.find_active(tx, siren, code)


async def _list_page(
    request: AnyRequest,
    site: Site,
    session: Session,
    db: Database,
    clock: Clock,
    *,
    typed: str = "",
    errors: dict[str, Sentence] | None = None,
) -> Response[Any]:
    async with db.transaction(site.slug) as tx:
        account, _ = await firm_of(tx, request, session, clock())
        own = await reading_store.accounts_of(tx, session.person_id)
        people = await reading_store.people_of(tx, account.adherent_id)
        every = await reading_store.of_adherent(tx, account.adherent_id)
    return site.page(
        request,
        "delegations.html",
        status_code=422 if errors else 200,
        account=account,
        adherent=public_id("adh", account.adherent_id),
        firms=[(public_id("adh", one.adherent_id), one.legal_name) for one in own if one.is_administrator],
        people=people,
        shelves=shelves(every),
        typed=typed,
        errors=errors or {},
    )


def _by_public_id(own: list[Place]) -> dict[str, Place]:
    return {public_id("est", place.id): place for place in own}


def _former_id(typed: str) -> UUID | None:
    return parse_public_id("mdt", typed) if typed else None


ROUTES = [
    show_delegations,
    show_terms,
    choose_terms,
    show_check,
    confirm,
    show_receipt,
    *RENEWAL,
]

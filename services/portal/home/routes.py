"""The pages of an adhérent."""

import re
import secrets
from typing import Any

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Redirect

from libs.common.http.forms import Form, read_form
from libs.common.refusals import NotFound
from libs.common.values.caisse_slug import CaisseSlug
from services.portal.home.activity import every_act
from services.portal.home.facts import Attestation, read_list
from services.portal.home.member_home import member_home
from services.portal.home.request_attestation import Refused, request_attestation
from services.portal.home.who import chosen_account, own_account, who_is_signed_in
from services.portal.portal import Portal
from services.portal.session.session import Session, cookie_name

SEE_OTHER = 303

ATTESTATION_ID = re.compile("att_[0-9A-Z]{26}")
REQUEST_KEY = re.compile("[A-Za-z0-9_-]{22}")


@get("/{caisse:str}", access="anyone")
async def home(
    request: Request[Any, Any, Any],
    caisse_slug: NamedDependency[CaisseSlug],
    portal: NamedDependency[Portal],
) -> Response[Any]:
    """The caisse's own page for a stranger, one's home once signed in."""
    brand = await portal.brands.of(caisse_slug)
    session = await portal.session(caisse_slug, request.cookies.get(cookie_name(caisse_slug)))
    if session is None:
        return portal.pages.render(
            "home/landing.html", request, brand=brand, verification=portal.verification_base
        )
    me = await who_is_signed_in(portal.services, session)
    account = chosen_account(me, session)
    if account is None:
        if me.cabinets:
            return Redirect(f"/{caisse_slug}/clients", status_code=SEE_OTHER)
        return portal.pages.render(
            "home/nothing_here.html", request, brand=brand, session=session, account_base=portal.account_base
        )
    return portal.pages.render(
        "home/home.html",
        request,
        brand=brand,
        session=session,
        me=me,
        home=await member_home(portal.services, session, account, portal.clock()),
        account_base=portal.account_base,
        request_key=secrets.token_urlsafe(16),
    )


@get("/{caisse:str}/activity", access="session")
async def activity(
    request: Request[Any, Any, Any],
    caisse_slug: NamedDependency[CaisseSlug],
    session: NamedDependency[Session],
    portal: NamedDependency[Portal],
) -> Response[Any]:
    """Qui a fait quoi pour mon entreprise."""
    account = own_account(await who_is_signed_in(portal.services, session), session)
    return portal.pages.render(
        "home/activity.html",
        request,
        brand=await portal.brands.of(caisse_slug),
        session=session,
        acts=await every_act(portal.services, session, account),
        account=account,
    )


@post("/{caisse:str}/attestations", access="session")
async def request_one(
    request: Request[Any, Any, Any],
    caisse_slug: NamedDependency[CaisseSlug],
    session: NamedDependency[Session],
    portal: NamedDependency[Portal],
) -> Response[Any]:
    """The adhérent pressed "Demander une attestation"."""
    account = own_account(await who_is_signed_in(portal.services, session), session)
    form = await read_form(request)
    if form.text("adherent") != account.adherent_id:
        # The page showed another firm, or none: in another tab they signed in for this one. They see it, then press.
        return Redirect(f"/{caisse_slug}", status_code=SEE_OTHER)
    answer = await request_attestation(
        portal.services, session, account.adherent_id, request_key=posted_key(form)
    )
    if isinstance(answer, Refused):
        return portal.pages.render(
            "home/refused.html",
            request,
            status_code=409,
            brand=await portal.brands.of(caisse_slug),
            session=session,
            reasons=answer.reasons,
            back=f"/{caisse_slug}",
        )
    return Redirect(f"/{caisse_slug}/attestations/{answer.id}", status_code=SEE_OTHER)


@get("/{caisse:str}/attestations/{attestation:str}", access="session")
async def attestation_page(
    request: Request[Any, Any, Any],
    caisse_slug: NamedDependency[CaisseSlug],
    attestation: FromPath[str],
    session: NamedDependency[Session],
    portal: NamedDependency[Portal],
) -> Response[Any]:
    """One attestation: its number, its code, its file."""
    account = own_account(await who_is_signed_in(portal.services, session), session)
    told = await portal.services.get(session, "documents", f"/adherents/{account.adherent_id}/attestations")
    return portal.pages.render(
        "home/attestation.html",
        request,
        brand=await portal.brands.of(caisse_slug),
        session=session,
        attestation=find_attestation(told, attestation),
        file=f"/{caisse_slug}/attestations/{attestation}/file",
        back=f"/{caisse_slug}",
    )


@get("/{caisse:str}/attestations/{attestation:str}/file", access="session")
async def attestation_file(
    attestation: FromPath[str],
    session: NamedDependency[Session],
    portal: NamedDependency[Portal],
) -> Response[bytes]:
    """The sealed PDF, as the documents service keeps it."""
    return await pdf_of(portal, session, attestation)


async def pdf_of(portal: Portal, session: Session, attestation: str, *, mandate: str = "") -> Response[bytes]:
    """The PDF through the portal, so that no token reaches the browser. Raises `NotFound`."""
    if not ATTESTATION_ID.fullmatch(attestation):
        raise NotFound
    answer = await portal.services.call(
        session, "documents", "GET", f"/attestations/{attestation}/file", mandate=mandate
    )
    return Response(
        answer.content,
        media_type="application/pdf",
        headers={
            "Cache-Control": "no-store",
            "Content-Disposition": f'attachment; filename="attestation-{attestation[4:]}.pdf"',
        },
    )


def posted_key(form: Form) -> str:
    """The key drawn with the page; a form without one gets a fresh one, and so its own attestation."""
    key = form.text("request_key")
    return key if REQUEST_KEY.fullmatch(key) else secrets.token_urlsafe(16)


def find_attestation(told: Any, attestation: str) -> Attestation:
    """The attestation of that id among those the service lists. Raises `NotFound`."""
    for one in read_list(Attestation, told, "attestations") or []:
        if one.id == attestation:
            return one
    raise NotFound


home_routes = [home, activity, request_one, attestation_page, attestation_file]

"""The pages of a cabinet's collaborator: the clients, and acting for one of them."""

import re
import secrets
from typing import Any

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect

from libs.common.http.forms import read_form
from libs.common.refusals import NotFound
from libs.common.values.caisse_slug import CaisseSlug
from services.portal.clients.portfolio import client_page, find_client, own_cabinet, portfolio
from services.portal.home.request_attestation import Refused, request_attestation
from services.portal.home.routes import SEE_OTHER, find_attestation, pdf_of, posted_key
from services.portal.home.who import who_is_signed_in
from services.portal.portal import Portal
from services.portal.refusals import MandateOver
from services.portal.session.session import Session

MANDATE_ID = re.compile("mdt_[0-9A-Z]{26}")


async def known_mandate(mandate: str) -> str:
    """A mandate's id as written in an address. Raises `NotFound`."""
    if not MANDATE_ID.fullmatch(mandate):
        raise NotFound
    return mandate


def page_number(typed: str) -> int:
    """The page asked for; anything else than a small number is the first."""
    return int(typed) if re.fullmatch("[1-9][0-9]{0,4}", typed) else 1


@get("/{caisse:str}/clients", access="session")
async def clients(
    request: Request[Any, Any, Any],
    caisse_slug: NamedDependency[CaisseSlug],
    session: NamedDependency[Session],
    portal: NamedDependency[Portal],
    q: FromQuery[str] = "",
    page: FromQuery[str] = "1",
) -> Response[Any]:
    """The portfolio: who entrusted what, and what waits for an answer."""
    me = await who_is_signed_in(portal.services, session)
    searched = q.replace("\x00", "").strip()[:80]
    return portal.pages.render(
        "clients/portfolio.html",
        request,
        brand=await portal.brands.of(caisse_slug),
        session=session,
        portfolio=await portfolio(
            portal.services, session, own_cabinet(me), searched=searched, page=page_number(page)
        ),
        account_base=portal.account_base,
        me=me,
    )


@get("/{caisse:str}/clients/{mandate:str}", access="session")
async def client(
    request: Request[Any, Any, Any],
    caisse_slug: NamedDependency[CaisseSlug],
    mandate: FromPath[str],
    session: NamedDependency[Session],
    portal: NamedDependency[Portal],
) -> Response[Any]:
    """One client. Once the mandate is over, a page says so and nothing else of the firm."""
    mandate = await known_mandate(mandate)
    brand = await portal.brands.of(caisse_slug)
    cabinet = own_cabinet(await who_is_signed_in(portal.services, session))
    try:
        shown = await client_page(portal.services, session, cabinet, mandate)
    except (MandateOver, NotFound):
        return portal.pages.render(
            "clients/over.html", request, status_code=403, brand=brand, session=session
        )
    return portal.pages.render(
        "clients/client.html",
        request,
        brand=brand,
        session=session,
        client=shown,
        account_base=portal.account_base,
        request_key=secrets.token_urlsafe(16),
    )


@post("/{caisse:str}/clients/{mandate:str}/attestations", access="session")
async def request_for_client(
    request: Request[Any, Any, Any],
    caisse_slug: NamedDependency[CaisseSlug],
    mandate: FromPath[str],
    session: NamedDependency[Session],
    portal: NamedDependency[Portal],
) -> Response[Any]:
    """The collaborator asks for the client's attestation, in its own name and on the mandate."""
    mandate = await known_mandate(mandate)
    brand = await portal.brands.of(caisse_slug)
    cabinet = own_cabinet(await who_is_signed_in(portal.services, session))
    try:
        held = await find_client(portal.services, session, cabinet, mandate)
        answer = await request_attestation(
            portal.services,
            session,
            held.adherent_id,
            request_key=posted_key(await read_form(request)),
            mandate=mandate,
        )
    except (MandateOver, NotFound):
        return portal.pages.render(
            "clients/over.html", request, status_code=403, brand=brand, session=session
        )
    back = f"/{caisse_slug}/clients/{mandate}"
    if isinstance(answer, Refused):
        return portal.pages.render(
            "home/refused.html",
            request,
            status_code=409,
            brand=brand,
            session=session,
            reasons=answer.reasons,
            back=back,
            acting=held,
        )
    return Redirect(f"{back}/attestations/{answer.id}", status_code=SEE_OTHER)


@get("/{caisse:str}/clients/{mandate:str}/attestations/{attestation:str}", access="session")
async def client_attestation(
    request: Request[Any, Any, Any],
    caisse_slug: NamedDependency[CaisseSlug],
    mandate: FromPath[str],
    attestation: FromPath[str],
    session: NamedDependency[Session],
    portal: NamedDependency[Portal],
) -> Response[Any]:
    """One attestation of the client."""
    mandate = await known_mandate(mandate)
    brand = await portal.brands.of(caisse_slug)
    cabinet = own_cabinet(await who_is_signed_in(portal.services, session))
    try:
        shown = await client_page(portal.services, session, cabinet, mandate)
    except MandateOver:
        return portal.pages.render(
            "clients/over.html", request, status_code=403, brand=brand, session=session
        )
    back = f"/{caisse_slug}/clients/{mandate}"
    return portal.pages.render(
        "home/attestation.html",
        request,
        brand=brand,
        session=session,
        attestation=find_attestation(shown.attestations, attestation),
        file=f"{back}/attestations/{attestation}/file",
        back=back,
        acting=shown.mandate,
    )


@get("/{caisse:str}/clients/{mandate:str}/attestations/{attestation:str}/file", access="session")
async def client_attestation_file(
    mandate: FromPath[str],
    attestation: FromPath[str],
    session: NamedDependency[Session],
    portal: NamedDependency[Portal],
) -> Response[bytes]:
    """The client's sealed PDF, on the mandate."""
    return await pdf_of(portal, session, attestation, mandate=await known_mandate(mandate))


client_routes = [clients, client, request_for_client, client_attestation, client_attestation_file]

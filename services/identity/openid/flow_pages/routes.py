"""What a person meets between a client's request and its answer: choices, consent, refusal."""

from datetime import datetime
from typing import Any, Literal
from urllib.parse import urlencode, urlsplit
from uuid import UUID

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Redirect
from msgspec.structs import replace

from libs.common.http.application import Clock
from libs.common.http.forms import Form, read_form
from libs.common.http.security_headers import allow_form_action
from libs.common.pages.environment import speak
from libs.common.pages.formats import siret
from libs.common.values.identifiers import InvalidPublicId, parse_public_id, public_id
from libs.common.values.sentence import Sentence
from services.identity.openid import browser_endpoint, flow_store
from services.identity.openid.authorize import keep_posted, pushed_handle
from services.identity.openid.browser_request import posted, visit
from services.identity.openid.completion import CONSENT_LASTS
from services.identity.openid.flow import origin_of
from services.identity.openid.issuer import Issuer
from services.identity.openid.issuing import access_lasts
from services.identity.openid.logos import store as logo_store
from services.identity.openid.proceed import ToClient, ToPage, continue_flow, ended, look, under_way
from services.identity.openid.program_endpoints import issuer_of
from services.identity.openid.provider import Provider
from services.identity.openid.refusals import AccessDenied, InvalidRequestUri, Refusal
from services.identity.openid.rights_in_words import rights_in_words
from services.identity.openid.steps import (
    CONSENT,
    FIRM,
    PERSON,
    SIGN_IN,
    View,
    agreed_scopes,
    digest_of,
    subject_of,
)
from services.identity.sign_in.session import cookie_name, current_session
from services.identity.site.routes import AnyRequest, Site

NO_FIRM = "cabinet"
"""The choice of a collaborator who also has accounts: act for the cabinet's clients."""


@get("/authorize", access="protocol")
async def authorize(
    request: AnyRequest,
    site: NamedDependency[Site],
    provider: NamedDependency[Provider],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """RFC 6749 §3.1: the page of an outcome that `browser_endpoint.py` left to us."""
    outcome = browser_endpoint.outcome_of(request.scope)
    if isinstance(outcome, Refusal):
        return await _error_of(request, site, provider, clock, outcome)
    return await shown(request, site, provider, outcome)


@post("/authorize", access="protocol", status_code=303)
async def authorize_posted(
    request: AnyRequest,
    slug: FromPath[str],
    site: NamedDependency[Site],
    provider: NamedDependency[Provider],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """OpenID Connect Core §3.1.2.1. A form posted from elsewhere comes without our cookies: ask again by GET."""
    issuer = await issuer_of(provider, slug)
    try:
        parameters = await posted(request)
        speak(request.scope, parameters.get("ui_locales"))
        outcome = await keep_posted(provider, issuer, parameters, clock())
    except Refusal as error:
        return await _error_of(request, site, provider, clock, error)
    return onward(outcome) if isinstance(outcome, str) else await shown(request, site, provider, outcome)


@get("/authorize/continue", access="protocol")
async def authorize_continue(
    request: AnyRequest,
    slug: FromPath[str],
    site: NamedDependency[Site],
    provider: NamedDependency[Provider],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """After sign-in, or after a choice."""
    issuer = await issuer_of(provider, slug)
    return await _go_on(request, site, provider, issuer, clock, request.query_params.get("flow", ""))


@post("/authorize/firm", access="anyone", status_code=303)
async def choose_firm(
    request: AnyRequest,
    slug: FromPath[str],
    site: NamedDependency[Site],
    provider: NamedDependency[Provider],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """ "Pour quelle entreprise ?" answered; only an account of this very person counts."""
    issuer = await issuer_of(provider, slug)
    form = await read_form(request)
    try:
        view, flow_id = await _under_way(request, provider, issuer, clock, form.text("flow"))
    except Refusal as error:
        return await _error_of(request, site, provider, clock, error, form.text("flow"))
    if not _was_shown_to(form, view):
        return onward(_continue_address(issuer, flow_id))
    chosen = _account_chosen(form, view)
    if chosen is None or view.signed_in is None:
        unchosen = {"firm": Sentence("Choisissez une entreprise.")}
        return await _page(request, site, provider, ToPage(FIRM, flow_id, view), unchosen)
    async with provider.db.transaction(issuer.caisse) as tx:
        await flow_store.choose_firm(tx, flow_id, view.signed_in.session_id, chosen[0])
    return onward(_continue_address(issuer, flow_id))


@post("/authorize/person", access="anyone", status_code=303)
async def choose_person(
    request: AnyRequest,
    slug: FromPath[str],
    site: NamedDependency[Site],
    provider: NamedDependency[Provider],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """`prompt=select_account` answered."""
    issuer = await issuer_of(provider, slug)
    form = await read_form(request)
    try:
        view, flow_id = await _under_way(request, provider, issuer, clock, form.text("flow"))
    except Refusal as error:
        return await _error_of(request, site, provider, clock, error, form.text("flow"))
    is_the_same = form.text("choice") == "same"
    if view.signed_in is None or (is_the_same and not _was_shown_to(form, view)):
        return onward(_continue_address(issuer, flow_id))
    async with provider.db.transaction(issuer.caisse) as tx:
        if is_the_same:
            await flow_store.confirm_person(tx, flow_id, view.signed_in.session_id)
        else:
            # The client's wish to hear a consent outlives the change of person.
            wishes = tuple(wish for wish in view.request.prompt if wish == "consent")
            anew = replace(view.request, prompt=("login", *wishes))
            await flow_store.ask_to_sign_in_again(tx, flow_id, anew, clock())
    return onward(_continue_address(issuer, flow_id))


@post("/authorize/consent", access="anyone", status_code=303)
async def consent(
    request: AnyRequest,
    slug: FromPath[str],
    site: NamedDependency[Site],
    provider: NamedDependency[Provider],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """ "J'accepte" or "Je refuse", for exactly what was shown: were it to change meanwhile, it is shown anew."""
    issuer = await issuer_of(provider, slug)
    form = await read_form(request)
    try:
        view, flow_id = await _under_way(request, provider, issuer, clock, form.text("flow"))
        if form.text("choice") != "accept":
            denied = AccessDenied("The person refused.")
            return await shown(request, site, provider, await ended(provider, issuer, view, denied))
        if view.signed_in is not None and form.text("shown") == (seen := digest_of(view)):
            async with provider.db.transaction(issuer.caisse) as tx:
                await flow_store.consent(tx, flow_id, view.signed_in.session_id, seen, clock())
    except Refusal as error:
        return await _error_of(request, site, provider, clock, error, form.text("flow"))
    return onward(_continue_address(issuer, flow_id))


async def _under_way(
    request: AnyRequest, provider: Provider, issuer: Issuer, clock: Clock, flow: str
) -> tuple[View, UUID]:
    """The flow of this browser, seen with the session of this moment. Raises `InvalidRequestUri`."""
    who = visit(request, issuer)
    flow_id = _flow_id(flow)
    now = clock()
    read = provider.db.one_statement(issuer.caisse)
    return await look(provider, issuer, await under_way(read, flow_id, who, now), now), flow_id


async def _go_on(
    request: AnyRequest, site: Site, provider: Provider, issuer: Issuer, clock: Clock, flow: str
) -> Response[Any]:
    try:
        outcome = await continue_flow(provider, issuer, _flow_id(flow), visit(request, issuer), clock())
    except Refusal as error:
        return await _error_of(request, site, provider, clock, error, flow)
    return await shown(request, site, provider, outcome)


def _flow_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise InvalidRequestUri("This request is unknown, finished or too old.") from error


def _continue_address(issuer: Issuer, flow_id: UUID) -> str:
    return f"{issuer.endpoint('/authorize/continue')}?flow={flow_id}"


def _name_of(view: View) -> str:
    return public_id("per", view.person.person_id) if view.person else ""


def _was_shown_to(form: Form, view: View) -> bool:
    """Whether the page named this very person: in another tab, somebody else may have signed in since."""
    return form.text("shown_to") == _name_of(view)


def _account_chosen(form: Form, view: View) -> tuple[UUID | None] | None:
    """The account chosen, `(None,)` for the cabinet; `None` when the choice is not this person's to make."""
    typed = form.text("firm")
    if typed == NO_FIRM and view.works_in_a_cabinet:
        return (None,)
    try:
        account_id = parse_public_id("acc", typed)
    except InvalidPublicId:
        return None
    return (account_id,) if any(firm.account_id == account_id for firm in view.firms) else None


async def shown(
    request: AnyRequest, site: Site, provider: Provider, outcome: ToClient | ToPage
) -> Response[Any]:
    """openid.md line 18: redirects are 303."""
    if isinstance(outcome, ToPage):
        if outcome.page == SIGN_IN:
            return onward(f"{site.identity}/{site.slug}/sign-in?flow={outcome.flow_id}")
        return await _page(request, site, provider, outcome)
    if outcome.address.response_mode == "form_post":
        speak(request.scope, outcome.address.ui_locales)
        uri = outcome.address.redirect_uri
        allow_form_action(request.scope, origin_of(uri))
        parameters = list(outcome.parameters.items())
        return site.page(request, "form_post.html", redirect_uri=uri, parameters=parameters)
    return onward(outcome.location)


def onward(address: str) -> Redirect:
    """openid.md line 18: 303. That no cache keeps it is said of every one (`security_headers.py`)."""
    return Redirect(address, status_code=303)


async def _error_of(
    request: AnyRequest, site: Site, provider: Provider, clock: Clock, error: Refusal, flow: str = ""
) -> Response[Any]:
    """What became of a request that goes no further, in the languages that it wanted, with the way out.

    It may be over and its client gone. A request that nobody knows any more is one that was too old to be kept.
    """
    query, now = request.query_params, clock()
    try:
        flow_id = UUID(flow) if flow else None
    except ValueError:
        flow_id = None
    handle = pushed_handle(query.get("request_uri"))
    read = provider.db.one_statement(site.slug)
    found = None
    if flow_id is not None:
        found = await flow_store.what_became_of(read, flow_id)
    elif handle is not None:
        found = await flow_store.what_became_of_pushed(read, query.get("client_id", ""), handle)
    if found is not None:
        speak(request.scope, found.ui_locales)
    if not isinstance(error, InvalidRequestUri):
        return error_page(request, site, error, now)
    session = None
    if found is None or not found.finished:
        async with provider.db.transaction(site.slug) as tx:
            session = await current_session(tx, request.cookies.get(cookie_name(site.slug)), now)
    return site.page(
        request,
        "authorization_error.html",
        status_code=400,
        case="finished" if found and found.finished else "expired",
        signed_in=session is not None,
        error=str(error.error),
        description=error.get_error_description() or "",
        client_name=found.client_name if found else "",
        client_uri=found.client_uri if found else "",
        begin_again=_begin_again(found.initiate_login_uri, site) if found else "",
    )


def _begin_again(initiate_login_uri: str, site: Site) -> str:
    """OpenID Connect Core §4: the client is told which issuer asks it to begin; nothing else is said for it."""
    if not initiate_login_uri:
        return ""
    said = urlencode({"iss": f"{site.identity}/{site.slug}"})
    return f"{initiate_login_uri}{'&' if '?' in initiate_login_uri else '?'}{said}"


def error_page(
    request: AnyRequest,
    site: Site,
    error: Refusal,
    now: datetime,
    case: Literal["misconfigured", "sign_out"] = "misconfigured",
) -> Response[Any]:
    """openid.md line 2: nowhere safe to answer, so the person reads it here, and the developer too."""
    return site.page(
        request,
        "authorization_error.html",
        status_code=400,
        case=case,
        error=str(error.error),
        description=error.get_error_description() or "",
        at=now,
        client_name="",
        client_uri="",
        begin_again="",
    )


async def _page(
    request: AnyRequest,
    site: Site,
    provider: Provider,
    outcome: ToPage,
    errors: dict[str, Sentence] | None = None,
) -> Response[Any]:
    view = outcome.view
    speak(request.scope, view.request.ui_locales)
    allow_form_action(request.scope, origin_of(view.request.redirect_uri))
    common: dict[str, Any] = {
        "flow_id": outcome.flow_id,
        "email": view.person.email if view.person else "",
        "shown_to": _name_of(view),
    }
    if outcome.page == FIRM:
        choices = {
            "options": _options(view),
            "works_in_a_cabinet": view.works_in_a_cabinet,
            "no_firm": NO_FIRM,
        }
        status = 422 if errors else 200
        return site.page(request, "choose_firm.html", status_code=status, errors=errors, **choices, **common)
    if outcome.page == PERSON:
        return site.page(request, "choose_person.html", **common)
    if outcome.page != CONSENT:
        raise RuntimeError(outcome.page)
    async with provider.db.transaction(site.slug) as tx:
        logo = await logo_store.logo_of(tx, view.client.client_id)
    return site.page(request, "consent.html", logo=logo, **_consent_values(view), **common)


def _options(view: View) -> list[tuple[str, str, str]]:
    return [
        (
            public_id("acc", firm.account_id),
            firm.legal_name or "",
            f"SIRET {siret(firm.siret)}" if firm.siret else "",
        )
        for firm in view.firms
        if firm.account_id is not None
    ]


def _consent_values(view: View) -> dict[str, Any]:
    """openid.md line 29: client, adhérent with its SIRET, rights, duration of the access and of the agreement."""
    subject, metadata = subject_of(view), view.client.metadata
    scopes, is_remembered = agreed_scopes(view), view.client.is_surely_at(view.request.redirect_uri)
    return {
        "client_name": metadata.client_name,
        "client_uri": metadata.client_uri or "",
        "policy_uri": metadata.policy_uri or "",
        "policy_host": host_of(metadata.policy_uri),
        "tos_uri": metadata.tos_uri or "",
        "tos_host": host_of(metadata.tos_uri),
        "return_origin": origin_of(view.request.redirect_uri),
        "firm": subject.legal_name or "",
        "siret": subject.siret or "",
        "rights": rights_in_words(scopes),
        "lasts": access_lasts(scopes),
        "remembered_until": view.now + CONSENT_LASTS if is_remembered else None,
        "shown": digest_of(view),
    }


def host_of(uri: str | None) -> str:
    """Where a link leads, for who is about to follow it: registered addresses are ASCII, a look-alike shows."""
    return urlsplit(uri or "").hostname or ""


ROUTES = [authorize, authorize_posted, authorize_continue, choose_firm, choose_person, consent]
"""Under `/{caisse}`."""

"""The authorization endpoint and what follows its pages: load, decide, commit.

An `Outcome` is an error page, a page of ours, or an answer to the client
(303 or form_post, always with `iss`, RFC 9207).
"""

from datetime import datetime, timedelta
from hashlib import sha256
from urllib.parse import urlencode
from uuid import UUID

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from libs.common.database.journal import Act, Actor
from libs.common.database.one_statement import Reader
from libs.common.values.identifiers import new_id, public_id
from services.identity.openid import flow_store
from services.identity.openid.authorization_details import firm_detail
from services.identity.openid.authorization_request import (
    AuthorizationRequest,
    ReturnAddress,
    addressed,
    came_as_it_must,
    checked,
    is_still_allowed,
    may_be_answered,
)
from services.identity.openid.bucket_names import (
    Place,
    code_place,
    handle_place,
    kept_handle,
    new_code,
    new_flow_id,
    new_grant_id,
)
from services.identity.openid.clients import Client
from services.identity.openid.commit import LostRace, write
from services.identity.openid.effects import (
    Effect,
    FinishFlow,
    Note,
    RelyOnConsent,
    RememberConsent,
    SpendPushedRequest,
    StoreGrant,
)
from services.identity.openid.issuer import Issuer
from services.identity.openid.issuing import OFFLINE_GRANT_LIFE, SESSION_GRANT_LIFE
from services.identity.openid.par import kept
from services.identity.openid.provider import Provider
from services.identity.openid.refusals import (
    ConsentRequired,
    InvalidRequest,
    InvalidRequestUri,
    Refusal,
    RequestUriNotSupported,
)
from services.identity.openid.request_objects import PUSHED, parameters_inside
from services.identity.openid.snapshot import Granted
from services.identity.openid.steps import (
    FLOW_LASTS,
    Flow,
    SignedIn,
    View,
    agreed_scopes,
    answered_level,
    answers_in,
    granted_scopes,
    missing_page,
    must_recall,
    recalled,
    subject_of,
)
from services.identity.openid.store import load_client
from services.identity.openid.subjects import subject_for
from services.identity.openid.tokens import claims_within
from services.identity.openid.visit_store import Present, Pushed, last_context, visited
from services.identity.openid.wire import Parameters
from services.identity.sign_in.session import note_seen, sought, was_seen_long_ago

CODE_LIFE = timedelta(seconds=60)
CONSENT_LASTS = timedelta(days=365)


class ToClient(Struct, frozen=True):
    """Back to the client, by its response mode."""

    address: ReturnAddress
    parameters: dict[str, str]

    @property
    def location(self) -> str:
        """The redirect of response mode `query` (RFC 6749 §4.1.2)."""
        uri = self.address.redirect_uri
        return f"{uri}{'&' if '?' in uri else '?'}{urlencode(self.parameters)}"


class ToPage(Struct, frozen=True):
    """A page of ours; `view` is what it shows, `flow_id` what its form carries."""

    page: str
    flow_id: UUID
    view: View


class Visit(Struct, frozen=True):
    """Who is in front of the screen: the caisse's session cookie and this browser's own name."""

    session_cookie: str | None
    browser: str

    def sought_at(self, now: datetime) -> tuple[bytes, datetime, datetime] | None:
        """What finds the live session of this browser (`sign_in.store.LIVE`); `None` without a cookie."""
        return sought(self.session_cookie, now) if self.session_cookie else None

    @property
    def browser_hash(self) -> bytes:
        return sha256(self.browser.encode()).digest()


async def answer_authorize(
    provider: Provider, issuer: Issuer, parameters: Parameters, visit: Visit, now: datetime
) -> ToClient | ToPage:
    """RFC 6749 §4.1.1. Raises a `Refusal` when there is only an error page to show."""
    client_id = parameters.need("client_id")
    read = provider.db.one_statement(issuer.caisse)
    handle = pushed_handle(parameters.get("request_uri"))
    if handle is not None:
        by_value_or_by_reference(parameters)
    client, pushed, present = await visited(
        read, client_id, now, session=visit.sought_at(now), pushed_at=handle
    )
    if client is None or client.state != "active":
        raise InvalidRequest("The client is unknown.")
    if handle is not None:
        request = _as_pushed(pushed, handle, client, now)
        return await proceed(provider, issuer, request, Flow(started_at=now), visit, now, client, present)
    asked = await _asked(provider, issuer, parameters, client, now)
    if isinstance(asked, ToClient):
        return asked
    return await proceed(provider, issuer, asked, Flow(started_at=now), visit, now, client, present)


async def keep_posted(
    provider: Provider, issuer: Issuer, parameters: Parameters, now: datetime
) -> ToClient | str:
    """OpenID Connect Core §3.1.2.1, by POST: the address where the same request goes on by GET, in this browser.

    A form from elsewhere comes without our cookies. What it says is checked and kept as a pushed request is, so
    that no hint, claim or state stands in an address (openid.md line 19). Raises a `Refusal` for an error page.
    """
    client_id = parameters.need("client_id")
    uri = parameters.get("request_uri")
    if uri is not None and pushed_handle(uri) is not None:
        by_value_or_by_reference(parameters)
    else:
        client = await load_client(provider.db.one_statement(issuer.caisse), client_id)
        if client is None or client.state != "active":
            raise InvalidRequest("The client is unknown.")
        asked = await _asked(provider, issuer, parameters, client, now)
        if isinstance(asked, ToClient):
            return asked
        handle, stored = kept(client_id, msgspec.json.encode(asked), now)
        await write(provider.db, issuer.caisse, [stored])
        uri = PUSHED + handle
    return f"{issuer.endpoint('/authorize')}?{urlencode({'client_id': client_id, 'request_uri': uri})}"


async def _asked(
    provider: Provider, issuer: Issuer, parameters: Parameters, client: Client, now: datetime
) -> AuthorizationRequest | ToClient:
    """A request that was not pushed, believed; or the refusal its client hears. Raises a `Refusal` for a page."""
    try:
        inside = await _parameters_that_count(provider, issuer, parameters, client, now)
    except Refusal as error:
        return refused(told_outside(parameters, client, error), error, issuer)
    address = addressed(inside, client)
    try:
        request = checked(
            inside, client, issuer, address, was_pushed=False, was_signed=inside is not parameters
        )
        came_as_it_must(request, client)
    except Refusal as error:
        return refused(address, error, issuer)
    return request


def by_value_or_by_reference(parameters: Parameters) -> None:
    """RFC 9101 §5: `request` or `request_uri`, pushed or remote, never both. Raises `InvalidRequest`."""
    if parameters.get("request_uri") is not None and parameters.get("request") is not None:
        raise InvalidRequest("A request is given by value or by reference, not both.")


def told_outside(parameters: Parameters, client: Client, error: Refusal) -> ReturnAddress:
    """OpenID Connect Core §3.1.2.6: a request object that is not taken is told to the client, where the request
    itself says an address of its own. Raises `error`, for a page, where it does not.
    """
    try:
        return addressed(parameters, client)
    except Refusal:
        raise error from None


def pushed_handle(uri: str | None) -> Place | None:
    """Where a `request_uri` of ours leads; any other is no handle."""
    return handle_place(uri.removeprefix(PUSHED)) if uri is not None and uri.startswith(PUSHED) else None


def _as_pushed(pushed: Pushed | None, handle: Place, client: Client, now: datetime) -> AuthorizationRequest:
    """RFC 9126 §4: of this client, fresh, unspent; nothing outside it counts. Raises `InvalidRequestUri`."""
    if pushed is None or pushed.client_id != client.client_id or pushed.expires_at <= now or pushed.spent:
        raise InvalidRequestUri("The request_uri is unknown, expired or used.")
    request = msgspec.json.decode(pushed.request, type=AuthorizationRequest)
    return replace(request, pushed_as=handle.digest, pushed_in=handle.rows)


async def _parameters_that_count(
    provider: Provider, issuer: Issuer, parameters: Parameters, client: Client, now: datetime
) -> Parameters:
    """openid.md §5: a remote request_uri only in `compat`, registered beforehand, through the guarded fetcher."""
    by_value_or_by_reference(parameters)
    uri = parameters.get("request_uri")
    if uri is not None:
        if client.profile != "compat" or uri not in client.metadata.request_uris:
            raise RequestUriNotSupported("A request_uri must be pushed.")
        request = await provider.remote_request(client, uri)
        parameters = Parameters({**parameters.values, "request": request})
    signed = parameters.get("request") or ""
    snapshot = await provider.snapshot(issuer, now, client, signed=signed)
    return parameters_inside(parameters, client, snapshot)


def refused(address: ReturnAddress, error: Refusal, issuer: Issuer) -> ToClient:
    """RFC 6749 §4.1.2.1, with `iss` in errors too."""
    said = {"error": str(error.error), "error_description": error.get_error_description() or ""}
    return _to_client(address, said, issuer)


def _to_client(address: ReturnAddress, said: dict[str, str], issuer: Issuer) -> ToClient:
    parameters = {**said, "state": address.state or "", "iss": issuer.url}
    return ToClient(address, {name: value for name, value in parameters.items() if value})


def return_address(request: AuthorizationRequest) -> ReturnAddress:
    return ReturnAddress(request.redirect_uri, request.response_mode, request.state, request.ui_locales)


async def continue_flow(
    provider: Provider, issuer: Issuer, flow_id: UUID, visit: Visit, now: datetime
) -> ToClient | ToPage:
    """After a page. Raises `InvalidRequestUri` for a flow of another browser, finished or too old: one answer."""
    read = provider.db.one_statement(issuer.caisse)
    flow, request, client, present = await under_way(read, flow_id, visit, now)
    return await proceed(provider, issuer, request, flow, visit, now, client, present)


async def under_way(
    read: Reader, flow_id: UUID, visit: Visit, now: datetime
) -> tuple[Flow, AuthorizationRequest, Client, Present | None]:
    """A flow of this browser: what is asked, by whom, and who is there.

    Raises `InvalidRequestUri` and `InvalidRequest`.
    """
    found = await flow_store.flow_of_browser(read, flow_id, visit.browser_hash, now)
    if found is None:
        raise InvalidRequestUri("This request is unknown, finished or too old.")
    client, _, present = await visited(read, found[1].client_id, now, session=visit.sought_at(now))
    if client is None:
        raise InvalidRequest("The client is unknown.")
    return *found, client, present


async def proceed(
    provider: Provider,
    issuer: Issuer,
    request: AuthorizationRequest,
    flow: Flow,
    visit: Visit,
    now: datetime,
    client: Client,
    present: Present | None,
) -> ToClient | ToPage:
    """Take the steps; then a page, a refusal, or a code. Raises `InvalidRequest` for a page, as `look` does."""
    view = await look(provider, issuer, request, flow, now, client, present)
    try:
        is_still_allowed(request, client, issuer)
        page = missing_page(view)
        if page is not None:
            return ToPage(page, flow.id or await _opened_flow(provider, issuer, request, visit, now), view)
        code, changes = completion(view, issuer)
        await write(provider.db, issuer.caisse, changes)
    except Refusal as error:
        return await ended(provider, issuer, view, error)
    except LostRace as lost:
        if isinstance(lost.effect, RelyOnConsent):
            # OpenID Connect Core §3.1.2.6: with nobody to ask, consent is what is missing.
            error = ConsentRequired() if "none" in request.prompt else lost.effect.lost
            return await ended(provider, issuer, view, error)
        raise lost.effect.lost from lost
    return _to_client(return_address(request), {"code": code}, issuer)


async def ended(provider: Provider, issuer: Issuer, view: View, error: Refusal) -> ToClient:
    """A refusal is an ending as a code is: nothing more comes of this flow, or of what was pushed for it.

    Raises `InvalidRequestUri` when it had ended already.
    """
    changes = endings(view)
    if changes:
        try:
            await write(provider.db, issuer.caisse, changes)
        except LostRace as lost:
            raise lost.effect.lost from lost
    return refused(return_address(view.request), error, issuer)


def endings(view: View) -> list[Effect]:
    """openid.md line 8: spent at completion, whatever that is. One flow, one answer."""
    request, changes = view.request, list[Effect]()
    if request.pushed_as is not None:
        changes.append(SpendPushedRequest(kept_handle(request.pushed_as, request.pushed_in), view.now))
    if view.flow.id is not None:
        changes.append(FinishFlow(view.flow.id, view.now))
    return changes


async def _opened_flow(
    provider: Provider, issuer: Issuer, request: AuthorizationRequest, visit: Visit, now: datetime
) -> UUID:
    flow_id = new_flow_id(now + FLOW_LASTS)
    async with provider.db.transaction(issuer.caisse) as tx:
        await flow_store.open_flow(tx, flow_id, visit.browser_hash, request, now, now + FLOW_LASTS)
    return flow_id


async def look(
    provider: Provider,
    issuer: Issuer,
    request: AuthorizationRequest,
    flow: Flow,
    now: datetime,
    client: Client,
    present: Present | None,
) -> View:
    """Everything the steps judge, as of now; the session's idle clock starts anew.

    Raises `InvalidRequest`, for a page, when the client may no longer be answered so.
    """
    may_be_answered(request, client)
    view = View(request=request, client=client, now=now, flow=flow)
    if present is None:
        return view
    if was_seen_long_ago(present.last_seen_at, now):
        async with provider.db.transaction(issuer.caisse) as tx:
            await note_seen(tx, present.session_id, present.last_seen_at, now)
    # The caisse's own portal asks for no consent, so none counts.
    consents = () if client.metadata.consent == "implicit" else present.consents
    view = replace(
        view,
        flow=answers_in(flow, present.session_id),
        signed_in=_signed_in(present, provider, issuer, client),
        firms=present.firms,
        person=present.person,
        works_in_a_cabinet=present.works_in_a_cabinet,
        consented=tuple((one.account_id, one.scopes) for one in consents),
    )
    if must_recall(view):
        read = provider.db.one_statement(issuer.caisse)
        view = recalled(view, await last_context(read, present.session_id, client.client_id))
    return view


def _signed_in(present: Present, provider: Provider, issuer: Issuer, client: Client) -> SignedIn:
    return SignedIn(
        session_id=present.session_id,
        person_id=present.person_id,
        opened_at=present.created_at,
        auth_time=present.auth_time,
        acr=present.acr,
        amr=present.amr,
        subject=subject_for(
            client.metadata, present.person_id, caisse=issuer.caisse, salt=provider.pairwise_salt
        ),
    )


def completion(view: View, issuer: Issuer) -> tuple[str, list[Effect]]:
    """The code and everything written with it. Called only when no step is missing."""
    session, request, subject = view.signed_in, view.request, subject_of(view)
    if session is None:
        raise InvalidRequest("Nobody is signed in.")
    granted = _granted(view, session)
    expires_at = view.now + OFFLINE_GRANT_LIFE if granted.offline else session.opened_at + SESSION_GRANT_LIFE
    grant_id, code_expires_at = new_grant_id(expires_at), view.now + CODE_LIFE
    code = new_code(code_expires_at, grant_id)
    changes: list[Effect] = [
        *endings(view),
        StoreGrant(
            grant_id=grant_id,
            client_id=request.client_id,
            person_id=session.person_id,
            session_id=session.session_id,
            account_id=subject.account_id,
            granted=msgspec.json.encode(granted),
            at=view.now,
            expires_at=expires_at,
            code=code_place(code),
            redirect_uri=request.redirect_uri,
            code_challenge=request.code_challenge,
            dpop_jkt=request.dpop_jkt,
            nonce=request.nonce,
            code_expires_at=code_expires_at,
        ),
        Note(_act(view, session)),
    ]
    if view.flow.consented_at is not None:
        changes.append(_consent(view, session))
    elif view.client.metadata.consent == "explicit":
        changes.append(_relied_on(view, session))
    return code, changes


def _granted(view: View, session: SignedIn) -> Granted:
    scopes = granted_scopes(view)
    consented = view.client.metadata.consent == "explicit"
    return Granted(
        scopes=tuple(scope for scope in view.request.scopes if scope in scopes),
        resources=view.request.resources,
        auth_time=int(session.auth_time.timestamp()),
        acr=session.acr,
        amr=session.amr,
        answered_acr=answered_level(view),
        subject=session.subject,
        details=() if view.request.firm is None else (firm_detail(view.request.firm),),
        claims=claims_within(view.request.claims, agreed_scopes(view)),
        # OpenID Connect Core §11: offline access only with the person's explicit consent.
        offline="offline_access" in scopes and consented,
    )


def _relied_on(view: View, session: SignedIn) -> RelyOnConsent:
    return RelyOnConsent(
        person_id=session.person_id,
        client_id=view.client.client_id,
        account_id=subject_of(view).account_id,
        scopes=tuple(sorted(agreed_scopes(view))),
        at=view.now,
    )


def _consent(view: View, session: SignedIn) -> RememberConsent:
    return RememberConsent(
        consent_id=new_id(),
        person_id=session.person_id,
        client_id=view.client.client_id,
        account_id=subject_of(view).account_id,
        scopes=tuple(sorted(agreed_scopes(view))),
        given_at=view.now,
        expires_at=view.now + CONSENT_LASTS,
    )


def _act(view: View, session: SignedIn) -> Act:
    return Act(
        action="authorization.granted",
        subject_kind="client",
        subject_id=view.client.client_id,
        at=view.now,
        adherent_id=subject_of(view).adherent_id,
        actor=Actor(person_id=session.person_id),
        details={"sid": public_id("ses", session.session_id), "scopes": sorted(agreed_scopes(view))},
    )

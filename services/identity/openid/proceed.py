"""From a request that is believed, and from each page: load, take the steps, commit.

It comes to an error page, a page of ours, or an answer to the client (303 or
form_post, always with `iss`, RFC 9207).
"""

from datetime import datetime
from hashlib import sha256
from typing import NamedTuple
from urllib.parse import urlencode
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from libs.common.database.one_statement import Reader
from services.identity.openid import flow_store
from services.identity.openid.authorization_request import (
    AuthorizationRequest,
    ReturnAddress,
    is_still_allowed,
    known,
    may_be_answered,
)
from services.identity.openid.bucket_names import new_flow_id
from services.identity.openid.clients import Client
from services.identity.openid.commit import LostRace, write
from services.identity.openid.completion import completion, endings
from services.identity.openid.effects import RelyOnConsent
from services.identity.openid.issuer import Issuer
from services.identity.openid.provider import Provider
from services.identity.openid.refusals import ConsentRequired, InvalidRequestUri, Refusal
from services.identity.openid.steps import (
    FLOW_LASTS,
    Flow,
    SignedIn,
    View,
    answers_in,
    missing_page,
    must_recall,
    recalled,
)
from services.identity.openid.subjects import subject_for
from services.identity.openid.visit_store import Present, last_context, visited
from services.identity.sign_in.session import note_seen, sought, was_seen_long_ago


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
        """What finds the live session of this browser (`session_store.LIVE`); `None` without a cookie."""
        return sought(self.session_cookie, now) if self.session_cookie else None

    @property
    def browser_hash(self) -> bytes:
        return sha256(self.browser.encode()).digest()


class Pending(NamedTuple):
    """A request that is believed, what its person has answered so far, the client that asks, and who is there."""

    request: AuthorizationRequest
    flow: Flow
    client: Client
    present: Present | None


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
    return await proceed(provider, issuer, await under_way(read, flow_id, visit, now), visit, now)


async def under_way(read: Reader, flow_id: UUID, visit: Visit, now: datetime) -> Pending:
    """The request of a flow of this browser. Raises `InvalidRequestUri` and `InvalidRequest`."""
    found = await flow_store.flow_of_browser(read, flow_id, visit.browser_hash, now)
    if found is None:
        raise InvalidRequestUri("This request is unknown, finished or too old.")
    flow, request = found
    client, _, present = await visited(read, request.client_id, now, session=visit.sought_at(now))
    return Pending(request, flow, known(client), present)


async def proceed(
    provider: Provider, issuer: Issuer, pending: Pending, visit: Visit, now: datetime
) -> ToClient | ToPage:
    """Take the steps; then a page, a refusal, or a code. Raises `InvalidRequest` for a page, as `look` does."""
    request = pending.request
    view = await look(provider, issuer, pending, now)
    try:
        is_still_allowed(request, pending.client, issuer)
        page = missing_page(view)
        if page is not None:
            flow_id = pending.flow.id or await _opened_flow(provider, issuer, request, visit, now)
            return ToPage(page, flow_id, view)
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


async def _opened_flow(
    provider: Provider, issuer: Issuer, request: AuthorizationRequest, visit: Visit, now: datetime
) -> UUID:
    flow_id = new_flow_id(now + FLOW_LASTS)
    async with provider.db.transaction(issuer.caisse) as tx:
        await flow_store.open_flow(tx, flow_id, visit.browser_hash, request, now, now + FLOW_LASTS)
    return flow_id


async def look(provider: Provider, issuer: Issuer, pending: Pending, now: datetime) -> View:
    """Everything the steps judge, as of now; the session's idle clock starts anew.

    Raises `InvalidRequest`, for a page, when the client may no longer be answered so.
    """
    request, flow, client, present = pending
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

"""The authorization endpoint: what arrives there is read, believed, and goes on (`proceed.py`)."""

from datetime import datetime
from urllib.parse import urlencode

import msgspec
from msgspec.structs import replace

from services.identity.openid.authorization_request import (
    AuthorizationRequest,
    ReturnAddress,
    addressed,
    came_as_it_must,
    checked,
    known,
)
from services.identity.openid.bucket_names import Place, handle_place
from services.identity.openid.clients import Client
from services.identity.openid.commit import write
from services.identity.openid.issuer import Issuer
from services.identity.openid.par import kept
from services.identity.openid.proceed import Pending, ToClient, ToPage, Visit, proceed, refused
from services.identity.openid.provider import Provider
from services.identity.openid.refusals import (
    InvalidRequest,
    InvalidRequestUri,
    Refusal,
    RequestUriNotSupported,
)
from services.identity.openid.request_objects import PUSHED, parameters_inside
from services.identity.openid.steps import Flow
from services.identity.openid.store import load_client
from services.identity.openid.visit_store import Pushed, visited
from services.identity.openid.wire import Parameters


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
    client = known(client)
    if handle is not None:
        asked: AuthorizationRequest | ToClient = _as_pushed(pushed, handle, client, now)
    else:
        asked = await _asked(provider, issuer, parameters, client, now)
    if isinstance(asked, ToClient):
        return asked
    pending = Pending(asked, Flow(started_at=now), client, present)
    return await proceed(provider, issuer, pending, visit, now)


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
        client = known(await load_client(provider.db.one_statement(issuer.caisse), client_id))
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

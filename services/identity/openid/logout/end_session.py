"""RP-initiated logout: who asks, where to go afterwards, and whether the person must say yes first."""

from datetime import datetime

import msgspec
from msgspec import Struct

from libs.common.database.transaction import Tx
from services.identity.openid import store
from services.identity.openid.authorization_request import check_size
from services.identity.openid.bucket_names import handle_place
from services.identity.openid.clients import Client
from services.identity.openid.commit import write
from services.identity.openid.hints import id_token_of, may_have_been_ours
from services.identity.openid.issuer import Issuer
from services.identity.openid.logout import store as logout_store
from services.identity.openid.par import kept
from services.identity.openid.provider import Provider
from services.identity.openid.refusals import InvalidRequest
from services.identity.openid.subjects import subject_for
from services.identity.openid.wire import Parameters
from services.identity.sign_in.session import Session, sid_of


class UncheckedLogout(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a client says: what counts of it, and of its hint. Kept so when it was posted, the hint itself is not."""

    client_id: str | None = None
    return_to: str | None = None
    state: str | None = None
    ui_locales: str | None = None
    sid: str | None = None
    sub: str | None = None


class LogoutRequest(Struct, frozen=True, kw_only=True):
    """A checked request. `is_proven` when a valid hint shows that the client knows this very session."""

    client: Client | None
    return_to: str | None
    state: str | None
    is_proven: bool


OF_NOBODY = ""
"""In place of a client's name, in the table of pushed requests: no client pushed this one, none can ask for it."""

_kept = msgspec.json.Decoder(UncheckedLogout)


def read(parameters: Parameters, issuer: Issuer) -> UncheckedLogout:
    """RP-Initiated Logout §2, hint first. Raises `InvalidRequest`, for a page.

    §4: an expired hint is good, a forged one an error. One that nobody can judge any more, its key being
    forgotten, is none: the person is asked, and without the client's name there is nowhere to return to.
    """
    named, return_to = parameters.get("client_id"), parameters.get("post_logout_redirect_uri")
    state, text = parameters.get("state"), parameters.get("id_token_hint")
    locales = parameters.get("ui_locales")
    hint = id_token_of(text, issuer) if text is not None else None
    if hint is None:
        if text is not None and not may_have_been_ours(text, issuer):
            raise InvalidRequest("The id_token_hint is not an ID token of ours.")
        known = return_to if named is not None or text is None else None
        return UncheckedLogout(client_id=named, return_to=known, state=state, ui_locales=locales)
    audience = str(hint["aud"])
    if named is not None and named != audience:
        raise InvalidRequest("The id_token_hint was issued to another client.")
    return UncheckedLogout(
        client_id=audience,
        return_to=return_to,
        state=state,
        ui_locales=locales,
        sid=str(hint["sid"]),
        sub=str(hint["sub"]),
    )


async def keep(provider: Provider, issuer: Issuer, asked: UncheckedLogout, now: datetime) -> str:
    """A handle for what was posted: the browser comes back with it, and with its cookies. Raises `InvalidRequest`."""
    check_size(asked)
    handle, stored = kept(OF_NOBODY, msgspec.json.encode(asked), now)
    await write(provider.db, issuer.caisse, [stored])
    return handle


async def recall(tx: Tx, handle: str, now: datetime) -> UncheckedLogout:
    """What was kept under a handle; nothing when it is unknown or too old: then the person is asked."""
    text = await logout_store.kept(tx, handle_place(handle), OF_NOBODY, now)
    return UncheckedLogout() if text is None else _kept.decode(text)


async def check(
    tx: Tx, provider: Provider, issuer: Issuer, asked: UncheckedLogout, session: Session | None
) -> LogoutRequest:
    """Client, then return address. Raises `InvalidRequest`, for a page."""
    client = await store.load_client(tx, asked.client_id) if asked.client_id else None
    if asked.client_id and client is None:
        raise InvalidRequest("The client is unknown.")
    # §3: only an address registered by a client that is named; never a guess.
    registered = client.metadata.post_logout_redirect_uris if client is not None else ()
    if asked.return_to is not None and asked.return_to not in registered:
        raise InvalidRequest("The post_logout_redirect_uri is not registered for this client.")
    # A client that was stopped leads nobody anywhere any more; its people sign out all the same.
    is_led_back = client is not None and client.state == "active"
    return LogoutRequest(
        client=client,
        return_to=asked.return_to if is_led_back else None,
        state=asked.state,
        is_proven=client is not None and _is_about(asked, client, session, provider, issuer),
    )


def _is_about(
    asked: UncheckedLogout, client: Client, session: Session | None, provider: Provider, issuer: Issuer
) -> bool:
    """openid.md §4, "logout CSRF": the hint names this browser's own session and person."""
    if asked.sid is None:
        return False
    if session is None:
        return True
    subject = subject_for(
        client.metadata, session.person_id, caisse=issuer.caisse, salt=provider.pairwise_salt
    )
    return asked.sid == sid_of(session.id) and asked.sub == subject

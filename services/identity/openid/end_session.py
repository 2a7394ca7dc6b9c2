"""RP-initiated logout: who asks, where to go afterwards, and whether the person must say yes first."""

from msgspec import Struct

from libs.common.database.transaction import Tx
from services.identity.openid import store
from services.identity.openid.clients import Client
from services.identity.openid.issuer import Issuer
from services.identity.openid.provider import Provider
from services.identity.openid.refusals import InvalidRequest
from services.identity.openid.subjects import subject_for
from services.identity.openid.wire import Parameters
from services.identity.sign_in.session import Session, sid_of


class LogoutRequest(Struct, frozen=True, kw_only=True):
    """A checked request. `is_proven` when a valid hint shows that the client knows this very session."""

    client: Client | None
    return_to: str | None
    state: str | None
    is_proven: bool


async def check(
    tx: Tx, provider: Provider, issuer: Issuer, parameters: Parameters, session: Session | None
) -> LogoutRequest:
    """RP-Initiated Logout §2, in order: hint, client, return address. Raises `InvalidRequest`, for a page."""
    hint = _hint(parameters, issuer)
    client_id = _client_id(parameters, hint)
    client = await store.load_client(tx, client_id) if client_id else None
    if client_id and client is None:
        raise InvalidRequest("The client is unknown.")
    return_to = parameters.get("post_logout_redirect_uri")
    # §3: only an address registered by a client that is named; never a guess.
    registered = client.metadata.post_logout_redirect_uris if client is not None else ()
    if return_to is not None and return_to not in registered:
        raise InvalidRequest("The post_logout_redirect_uri is not registered for this client.")
    return LogoutRequest(
        client=client,
        return_to=return_to,
        state=parameters.get("state"),
        is_proven=hint is not None
        and client is not None
        and _is_about(hint, client, session, provider, issuer),
    )


def _hint(parameters: Parameters, issuer: Issuer) -> dict[str, object] | None:
    """An ID token of ours, expired or not (§4); a forged one is an error, not a missing one."""
    text = parameters.get("id_token_hint")
    if text is None:
        return None
    claims = issuer.keys.read_own_jwt(text, typ="JWT")
    if claims is None or claims.get("iss") != issuer.url:
        raise InvalidRequest("The id_token_hint is not an ID token of ours.")
    return claims


def _client_id(parameters: Parameters, hint: dict[str, object] | None) -> str | None:
    named = parameters.get("client_id")
    if hint is None:
        return named
    audience = str(hint.get("aud", ""))
    if named is not None and named != audience:
        raise InvalidRequest("The id_token_hint was issued to another client.")
    return audience


def _is_about(
    hint: dict[str, object], client: Client, session: Session | None, provider: Provider, issuer: Issuer
) -> bool:
    """openid.md §4, "logout CSRF": the hint names this browser's own session and person."""
    if session is None:
        return True
    subject = subject_for(
        client.metadata, session.person_id, caisse=issuer.caisse, salt=provider.pairwise_salt
    )
    return hint.get("sid") == sid_of(session.id) and hint.get("sub") == subject

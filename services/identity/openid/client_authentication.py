"""Which client is this, and does it prove it (RFC 6749 §2.3, RFC 7523 §2.2).

`credentials_of` reads the request alone, so that the loader knows whom to
fetch; `authenticate` judges them against the snapshot.
"""

import base64
import binascii
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote_plus

from msgspec import Struct

from services.identity.openid.clients import Client, may_name_a_client
from services.identity.openid.effects import RememberJti
from services.identity.openid.foreign_jwt import (
    SKEW,
    NotVerified,
    algorithms_of,
    check_dates,
    unverified_claims,
    verify,
)
from services.identity.openid.refusals import InvalidClient, InvalidRequest
from services.identity.openid.snapshot import Snapshot
from services.identity.openid.wire import Parameters

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_TYPES = (None, "jwt", "client-authentication+jwt")
"""RFC 7523 names none; a request object that says its own type is no assertion (RFC 9101 §10.8)."""

LONGEST_ASSERTION = timedelta(minutes=5)


class Credentials(Struct, frozen=True):
    """What the request claims: a client, a method, and its proof (none, a secret or an assertion)."""

    client_id: str
    method: str
    proof: str = ""


def credentials_of(parameters: Parameters, authorization: str | None) -> Credentials:
    """Exactly one method (RFC 6749 §2.3), a body `client_id` that agrees with it, and a name that a client can have.

    Raises `InvalidRequest` and `InvalidClient`.
    """
    said = [method for method, present in _methods(parameters, authorization) if present]
    if len(said) > 1:
        raise InvalidRequest("More than one method of client authentication.")
    found = _read(said[0] if said else "none", parameters, authorization)
    in_body = parameters.get("client_id")
    if in_body is not None and in_body != found.client_id:
        raise InvalidClient
    if not may_name_a_client(found.client_id):
        raise InvalidClient
    return found


def _methods(parameters: Parameters, authorization: str | None) -> list[tuple[str, bool]]:
    asserted = (
        parameters.get("client_assertion") is not None or parameters.get("client_assertion_type") is not None
    )
    return [
        ("client_secret_basic", authorization is not None and authorization[:6].lower() == "basic "),
        ("private_key_jwt", asserted),
        ("client_secret_post", parameters.get("client_secret") is not None),
    ]


def _read(method: str, parameters: Parameters, authorization: str | None) -> Credentials:
    if method == "client_secret_basic":
        return _read_basic(authorization or "")
    if method == "private_key_jwt":
        return _read_assertion(parameters)
    client_id = parameters.get("client_id")
    if client_id is None:
        raise InvalidClient
    return Credentials(client_id, method, parameters.get("client_secret") or "")


def _read_basic(authorization: str) -> Credentials:
    """RFC 6749 §2.3.1: both halves are form-encoded before base64."""
    try:
        client_id, colon, secret = (
            base64.b64decode(authorization[6:].strip(), validate=True).decode().partition(":")
        )
    except (binascii.Error, ValueError) as error:
        raise InvalidClient from error
    if not colon:
        raise InvalidClient
    return Credentials(unquote_plus(client_id), "client_secret_basic", unquote_plus(secret))


def _read_assertion(parameters: Parameters) -> Credentials:
    if parameters.get("client_assertion_type") != ASSERTION_TYPE:
        raise InvalidClient
    assertion = parameters.get("client_assertion") or ""
    try:
        subject = unverified_claims(assertion).get("sub")
    except NotVerified as error:
        raise InvalidClient from error
    if not isinstance(subject, str):
        raise InvalidClient
    return Credentials(subject, "private_key_jwt", assertion)


def authenticate(credentials: Credentials, snapshot: Snapshot) -> tuple[Client, list[RememberJti]]:
    """The proven client and the assertion to remember. Raises `InvalidClient` in every other case."""
    client = snapshot.client
    if client is None or client.client_id != credentials.client_id or client.state != "active":
        raise InvalidClient
    # A method must be the registered one: a confidential client can never fall back to `none`.
    if credentials.method != client.metadata.token_endpoint_auth_method:
        raise InvalidClient
    if credentials.method == "private_key_jwt":
        return client, [_check_assertion(credentials.proof, client, snapshot)]
    if credentials.method != "none" and not client.check_client_secret(credentials.proof):
        raise InvalidClient
    return client, []


def _check_assertion(assertion: str, client: Client, snapshot: Snapshot) -> RememberJti:
    """A key of the client signed it, and it holds what `OF_AN_ASSERTION` asks. It is good once: what remembers it."""
    registered = client.metadata.token_endpoint_auth_signing_alg
    algorithms = algorithms_of(client.profile, registered)
    try:
        claims = verify(assertion, snapshot.client_keys, algorithms, types=ASSERTION_TYPES)
    except NotVerified as error:
        raise InvalidClient from error
    for check in OF_AN_ASSERTION:
        check(claims, client, snapshot)
    expires_at = datetime.fromtimestamp(claims["exp"], UTC)
    return RememberJti("assertion", client.client_id, claims["jti"], expires_at + SKEW)


def it_is_the_client_s(claims: dict[str, Any], client: Client, snapshot: Snapshot) -> None:
    """RFC 7523 §3, 1 and 2.B: issuer and subject are the client itself."""
    if claims.get("iss") != client.client_id or claims.get("sub") != client.client_id:
        raise InvalidClient


def it_is_for_this_issuer(claims: dict[str, Any], client: Client, snapshot: Snapshot) -> None:
    """openid.md line 11 (RFC 7523 §3, 3; FAPI 2.0 §5.3.2.1): no endpoint, and no array."""
    if claims.get("aud") != snapshot.issuer.url:
        raise InvalidClient("The audience of the assertion must be the issuer, as one string.")


def it_is_of_now(claims: dict[str, Any], client: Client, snapshot: Snapshot) -> None:
    """RFC 7523 §3, 4 to 6: `exp` is there, and near; `nbf` and `iat` are past, if they are there."""
    if check_dates(claims, snapshot.now, longest=LONGEST_ASSERTION) is None:
        raise InvalidClient


def it_can_be_remembered(claims: dict[str, Any], client: Client, snapshot: Snapshot) -> None:
    """openid.md line 11 (RFC 7523 §3, 7): a `jti` by which its second showing is known, and that fits its row."""
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= 256:
        raise InvalidClient


OF_AN_ASSERTION = (it_is_the_client_s, it_is_for_this_issuer, it_is_of_now, it_can_be_remembered)

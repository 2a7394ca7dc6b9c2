"""Where the parameters come from: pushed (RFC 9126), signed (RFC 9101), or plain."""

from datetime import timedelta
from typing import Any

import msgspec

from libs.common.access.signatures import Malformed, unb64url
from libs.common.values.foreign_json import UnreadableJson, read_json
from services.identity.openid.clients import Client
from services.identity.openid.foreign_jwt import NotVerified, algorithms_of, check_dates, verify
from services.identity.openid.refusals import InvalidRequest, InvalidRequestObject, RequestNotSupported
from services.identity.openid.snapshot import Snapshot
from services.identity.openid.wire import Parameters, parameters_of_claims

LONGEST_REQUEST = timedelta(minutes=60)
"""openid.md line 25: `exp` and `nbf` within 60 minutes."""

REQUEST_TYPES = (None, "jwt", "oauth-authz-req+jwt")
"""RFC 9101 §10.8; OpenID Connect Core §6.1 names no type."""

PUSHED = "urn:ietf:params:oauth:request_uri:"

_objects = msgspec.json.Decoder(dict[str, Any])


def parameters_inside(parameters: Parameters, client: Client, snapshot: Snapshot) -> Parameters:
    """The parameters that count: those of the request object when there is one."""
    compact = parameters.get("request")
    if compact is None:
        if client.metadata.require_signed_request_object:
            raise InvalidRequest("This client signs its requests.")
        return parameters
    return open_request_object(compact, client, snapshot)


def open_request_object(compact: str, client: Client, snapshot: Snapshot) -> Parameters:
    """The parameters inside, and only those (RFC 9101 §6.3). Raises `InvalidRequestObject`, `RequestNotSupported`."""
    if unsigned_header(compact):
        raise RequestNotSupported("The request object must be signed.")
    algorithms = algorithms_of(client.profile, client.metadata.request_object_signing_alg)
    try:
        claims = verify(compact, snapshot.client_keys, algorithms, types=REQUEST_TYPES)
    except NotVerified as error:
        raise InvalidRequestObject(
            "The request object is unreadable, or its signature does not hold."
        ) from error
    for check in OF_A_REQUEST_OBJECT:
        check(claims, client, snapshot)
    try:
        return parameters_of_claims(claims)
    except InvalidRequest as error:
        raise InvalidRequestObject(error.description) from error


def it_is_of_this_client(claims: dict[str, Any], client: Client, snapshot: Snapshot) -> None:
    """RFC 9101 §5, §6.3: `client_id` inside and outside are one."""
    if _said(claims, "client_id", client.client_id, client) != client.client_id:
        raise InvalidRequestObject("The request object is another client's.")


def it_is_issued_by_it(claims: dict[str, Any], client: Client, snapshot: Snapshot) -> None:
    """RFC 9101 §4: the issuer of a signed one is the client."""
    if _said(claims, "iss", client.client_id, client) != client.client_id:
        raise InvalidRequestObject("The issuer of the request object must be the client.")


def it_holds_no_other(claims: dict[str, Any], client: Client, snapshot: Snapshot) -> None:
    """RFC 9101 §4: neither `request` nor `request_uri` stands inside."""
    if "request" in claims or "request_uri" in claims:
        raise InvalidRequestObject("A request object holds no other.")


def it_is_for_this_issuer(claims: dict[str, Any], client: Client, snapshot: Snapshot) -> None:
    """openid.md line 25 (RFC 9101 §4, FAPI 2.0 Message Signing §5.3.1)."""
    audience, issuer = _said(claims, "aud", snapshot.issuer.url, client), snapshot.issuer.url
    if audience != issuer and not (isinstance(audience, list) and issuer in audience):
        raise InvalidRequestObject("The audience of the request object must be the issuer.")


def it_is_of_now(claims: dict[str, Any], client: Client, snapshot: Snapshot) -> None:
    """openid.md line 25 (FAPI 2.0 Message Signing §5.3.1): it ends within the hour."""
    dates = {**claims, "exp": _said(claims, "exp", int(snapshot.now.timestamp()), client)}
    if check_dates(dates, snapshot.now, longest=LONGEST_REQUEST) is None:
        raise InvalidRequestObject("The request object's dates do not hold.")


def it_is_of_the_last_hour(claims: dict[str, Any], client: Client, snapshot: Snapshot) -> None:
    """openid.md line 25 (FAPI 2.0 Message Signing §5.3.1): `nbf` is 60 minutes old at most."""
    nbf = claims.get("nbf")
    if client.profile == "compat":
        return
    if not isinstance(nbf, int | float) or nbf < (snapshot.now - LONGEST_REQUEST).timestamp():
        raise InvalidRequestObject("The request object needs an nbf of the last hour.")


def _said(claims: dict[str, Any], name: str, right: object, client: Client) -> object:
    """The claim. `compat` may leave it out, never have it wrong: there its absence says what is right."""
    return claims.get(name, right if client.profile == "compat" else None)


OF_A_REQUEST_OBJECT = (
    it_is_of_this_client,
    it_is_issued_by_it,
    it_holds_no_other,
    it_is_for_this_issuer,
    it_is_of_now,
    it_is_of_the_last_hour,
)


def unsigned_header(compact: str) -> bool:
    """Whether a request object says `alg: none`, which has a refusal of its own."""
    try:
        header = read_json(unb64url(compact.partition(".")[0]), _objects)
    except (Malformed, UnreadableJson):
        return False
    return header.get("alg") == "none"

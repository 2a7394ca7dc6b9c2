"""Where the parameters come from: pushed (RFC 9126), signed (RFC 9101), or plain."""

from datetime import timedelta
from typing import Any

import msgspec

from libs.common.access.signatures import Malformed, unb64url
from libs.common.values.foreign_json import UnreadableJson, read_json
from services.identity.openid.client_authentication import check_dates
from services.identity.openid.clients import Client
from services.identity.openid.foreign_jwt import PROFILE_ALGORITHMS, NotVerified, verify
from services.identity.openid.refusals import InvalidRequest, InvalidRequestObject, RequestNotSupported
from services.identity.openid.snapshot import Snapshot
from services.identity.openid.wire import Parameters, parameters_of_claims

LONGEST_REQUEST = timedelta(minutes=60)
"""openid.md line 25: `exp` and `nbf` within 60 minutes."""

REQUEST_TYPES = (None, "jwt", "oauth-authz-req+jwt")
"""RFC 9101 §10.8; OpenID Connect Core §6.1 names no type."""

PUSHED = "urn:ietf:params:oauth:request_uri:"

_objects = msgspec.json.Decoder(dict[str, Any])


def unsigned_header(compact: str) -> bool:
    """Whether a request object says `alg: none`, which has a refusal of its own."""
    try:
        header = read_json(unb64url(compact.partition(".")[0]), _objects)
    except (Malformed, UnreadableJson):
        return False
    return header.get("alg") == "none"


def open_request_object(compact: str, client: Client, snapshot: Snapshot) -> Parameters:
    """The parameters inside, and only those (RFC 9101 §6.3). Raises `InvalidRequestObject`, `RequestNotSupported`."""
    if unsigned_header(compact):
        raise RequestNotSupported("The request object must be signed.")
    algorithms = PROFILE_ALGORITHMS[client.profile]
    if client.metadata.request_object_signing_alg is not None:
        algorithms = tuple(alg for alg in algorithms if alg == client.metadata.request_object_signing_alg)
    try:
        claims = verify(compact, snapshot.client_keys, algorithms, types=REQUEST_TYPES)
    except NotVerified as error:
        raise InvalidRequestObject(
            "The request object is unreadable, or its signature does not hold."
        ) from error
    _check_claims(claims, client, snapshot)
    try:
        return parameters_of_claims(claims)
    except InvalidRequest as error:
        raise InvalidRequestObject(error.description) from error


def _check_claims(claims: dict[str, Any], client: Client, snapshot: Snapshot) -> None:
    """RFC 9101 §6.2, §6.3 and FAPI 2.0 Message Signing §5.3.1. `compat` may leave a claim out, never have it wrong."""
    lenient = client.profile == "compat"
    if claims.get("client_id", client.client_id if lenient else None) != client.client_id:
        raise InvalidRequestObject("The request object is another client's.")
    if claims.get("iss", client.client_id if lenient else None) != client.client_id:
        raise InvalidRequestObject("The issuer of the request object must be the client.")
    if "request" in claims or "request_uri" in claims:
        raise InvalidRequestObject("A request object holds no other.")
    audience = claims.get("aud", snapshot.issuer.url if lenient else None)
    if audience != snapshot.issuer.url and not (
        isinstance(audience, list) and snapshot.issuer.url in audience
    ):
        raise InvalidRequestObject("The audience of the request object must be the issuer.")
    dates = {"exp": int(snapshot.now.timestamp()), **claims} if lenient else claims
    if check_dates(dates, snapshot.now, longest=LONGEST_REQUEST) is None:
        raise InvalidRequestObject("The request object's dates do not hold.")
    nbf = claims.get("nbf")
    if not lenient and (
        not isinstance(nbf, int | float) or nbf < (snapshot.now - LONGEST_REQUEST).timestamp()
    ):
        raise InvalidRequestObject("The request object needs an nbf of the last hour.")


def parameters_inside(parameters: Parameters, client: Client, snapshot: Snapshot) -> Parameters:
    """The parameters that count: those of the request object when there is one."""
    compact = parameters.get("request")
    if compact is None:
        if client.metadata.require_signed_request_object:
            raise InvalidRequest("This client signs its requests.")
        return parameters
    return open_request_object(compact, client, snapshot)

"""`espace client report`: each departure from RFC 9700 and FAPI 2.0 is said of who departs, and of nobody else."""

from typing import Any

import pytest

from libs.common.access.signatures import SigningKey
from services.identity.openid.client_rules import check_metadata
from services.identity.openid.clients import CLIENT_CREDENTIALS, ClientMetadata
from services.identity.openid.report import EXPECTATIONS, departures

SECRET = "s'authentifie par un secret partagé"
PUBLIC = "client public : rien ne prouve qui il est"
NO_PAR = "ne pousse pas ses demandes d'autorisation"
NO_PKCE = "peut omettre PKCE"
BEARER = "reçoit des jetons au porteur (UserInfo seulement)"
RS256 = "signe ou fait signer en RS256"
ASSERTIONS = "peut signer ses assertions en RS256"
REQUESTS = "peut signer ses demandes en RS256"
REMOTE = "fait lire ses demandes à distance"

ES256: dict[str, Any] = {
    "token_endpoint_auth_signing_alg": "ES256",
    "request_object_signing_alg": "ES256",
}
OWN_NAME: dict[str, Any] = {
    "grant_types": (CLIENT_CREDENTIALS,),
    "response_types": (),
    "redirect_uris": (),
}


def described(profile: Any, method: Any = "private_key_jwt", **changes: Any) -> ClientMetadata:
    jwks = {"keys": [SigningKey.generate("ES256").published_jwk()]}
    said: dict[str, Any] = {
        "redirect_uris": ("https://client.example/cb",),
        **({"jwks": jwks} if method == "private_key_jwt" else {}),
        **changes,
    }
    named = {"client_name": "Logiciel", "profile": profile, "token_endpoint_auth_method": method}
    return check_metadata(ClientMetadata(**named, **said))


CASES: dict[str, tuple[ClientMetadata, set[str]]] = {
    "fapi": (described("fapi"), set()),
    "standard that names its algorithms": (described("standard", **ES256), set()),
    "standard that names none": (described("standard"), {ASSERTIONS, REQUESTS}),
    "standard that signs tokens with RS256": (
        described("standard", **ES256, id_token_signed_response_alg="RS256"),
        {RS256},
    ),
    "standard, in its own name": (described("standard", **OWN_NAME), {ASSERTIONS}),
    "public": (described("standard", "none"), {PUBLIC, NO_PAR}),
    "public that must push": (
        described("standard", "none", require_pushed_authorization_requests=True),
        {PUBLIC},
    ),
    "public with keys for its requests": (
        described(
            "standard", "none", jwks={"keys": [SigningKey.generate("ES256").published_jwk()]}
        ),
        {PUBLIC, NO_PAR, REQUESTS},
    ),
    "compat with a secret": (
        described("compat", "client_secret_basic"),
        {SECRET, NO_PAR, NO_PKCE, BEARER},
    ),
    "compat that must push, its tokens bound": (
        described(
            "compat", "client_secret_basic", require_pushed_authorization_requests=True, dpop_bound_access_tokens=True
        ),
        {SECRET, NO_PKCE},
    ),
    "compat with keys, read at a distance": (
        described("compat", **ES256, request_uris=("https://client.example/request.jwt",)),
        {NO_PAR, NO_PKCE, BEARER, REMOTE},
    ),
    "compat, public": (described("compat", "none"), {PUBLIC, NO_PAR, BEARER}),
    "compat, in its own name": (
        described("compat", "client_secret_post", **OWN_NAME),
        {SECRET, BEARER},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_is_said_of_a_client(case: str) -> None:
    metadata, expected = CASES[case]
    assert {line.what for line in departures(metadata)} == expected


def test_every_line_of_the_report_is_said_of_somebody() -> None:
    said = {line.what for metadata, _ in CASES.values() for line in departures(metadata)}
    assert said == {line.what for _, line in EXPECTATIONS}

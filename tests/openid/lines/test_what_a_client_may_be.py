"""The rules of a client's metadata, one by one: those that no module of another folder breaks by itself."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from libs.common.access.signatures import SigningKey
from services.identity.openid.client_rules import InvalidClientMetadata, check_metadata
from services.identity.openid.clients import CLIENT_CREDENTIALS, CODE, TOKEN_EXCHANGE, ClientMetadata

KEY = SigningKey.generate("ES256")


def metadata(**changes: Any) -> ClientMetadata:
    said: dict[str, Any] = {
        "client_name": "Logiciel",
        "redirect_uris": ("https://client.example/cb",),
        "jwks": {"keys": [KEY.published_jwk()]},
        **changes,
    }
    return ClientMetadata(**said)


PUBLIC: dict[str, Any] = {"token_endpoint_auth_method": "none", "jwks": None}
PAIRWISE: dict[str, Any] = {"subject_type": "pairwise"}
TWO_HOSTS = ("https://one.example/cb", "https://two.example/cb")
SHORT = SigningKey("PS256", rsa.generate_private_key(65537, 1024)).published_jwk()

WRONG: dict[str, dict[str, Any]] = {
    "a grant of nobody": {"grant_types": (CODE, "password")},
    "another response type": {"response_types": ("code", "token")},
    "the code's grant without its response type": {"response_types": ()},
    "the code's response type without its grant": {"grant_types": (CLIENT_CREDENTIALS,)},
    "a public client of its own": {**PUBLIC, "grant_types": (CODE, CLIENT_CREDENTIALS)},
    "a public client that exchanges": {**PUBLIC, "grant_types": (CODE, TOKEN_EXCHANGE)},
    "a public client that asks nobody": {**PUBLIC, "consent": "implicit"},
    "a secret outside compat": {"token_endpoint_auth_method": "client_secret_basic", "jwks": None},
    "a public client in fapi": {**PUBLIC, "profile": "fapi"},
    "a remote request outside compat": {"request_uris": ("https://client.example/request",)},
    "RS256 in fapi": {"profile": "fapi", "id_token_signed_response_alg": "RS256"},
    "assertions in HS256": {"token_endpoint_auth_signing_alg": "HS256"},
    "unsigned requests": {"request_object_signing_alg": "none"},
    "keys in two places": {"jwks_uri": "https://client.example/jwks"},
    "no key to prove itself": {"jwks": None},
    "no key to sign its requests": {**PUBLIC, "require_signed_request_object": True},
    "an empty set of keys": {"jwks": {"keys": []}},
    "too many keys": {"jwks": {"keys": [KEY.published_jwk()] * 21}},
    "a private key": {"jwks": {"keys": [KEY.published_jwk() | {"d": "AA"}]}},
    "a NUL, which no database keeps": {"contacts": ("a\x00b",)},
    "a key that is too short": {"jwks": {"keys": [SHORT]}},
    "a scope of nobody": {"scope": "openid admin"},
    "nowhere to answer": {"redirect_uris": ()},
    "pairwise over two hosts": {**PAIRWISE, "redirect_uris": TWO_HOSTS},
    "pairwise on loopback": {**PAIRWISE, "application_type": "native", "redirect_uris": ("http://127.0.0.1/cb",)},
    "a level of nobody": {"default_acr_values": ("mfa", "gold")},
    "an age before now": {"default_max_age": -1},
    "an age of centuries": {"default_max_age": 10**10},
    "too many addresses": {"redirect_uris": tuple(f"https://client.example/{n}" for n in range(21))},
    "a long address": {"redirect_uris": ("https://client.example/" + "a" * 2000,)},
    "an address outside ASCII": {"redirect_uris": ("https://clienté.example/cb",)},
    "a blank in an address": {"redirect_uris": ("https://client.example/c b",)},
    "a new line in an address": {"redirect_uris": ("https://client.example/c\nb",)},
    "a wildcard in an address": {"redirect_uris": ("https://client.example/*",)},
    "a backslash in an address": {"redirect_uris": ("https://client.example\\@evil.example/",)},
    "userinfo in an address": {"redirect_uris": ("https://a:b@client.example/cb",)},
    "a fragment in an address": {"redirect_uris": ("https://client.example/cb#x",)},
    "an address without a host": {"redirect_uris": ("https:///cb",)},
    "plain http": {"redirect_uris": ("http://client.example/cb",)},
    "a web client on loopback": {"redirect_uris": ("http://127.0.0.1/cb",)},
    "a private scheme of a web client": {"redirect_uris": ("com.example.app:/cb",)},
    "a private scheme without a dot": {"application_type": "native", "redirect_uris": ("myapp:/cb",)},
    "a private scheme with a host": {"application_type": "native", "redirect_uris": ("com.example.app://evil/cb",)},
    "plain http after logout": {"post_logout_redirect_uris": ("http://client.example/out",)},
    "plain http of another address": {"backchannel_logout_uri": "http://client.example/logout"},
}  # fmt: skip


@pytest.mark.parametrize("why", WRONG)
def test_each_rule_refuses_by_itself(why: str) -> None:
    with pytest.raises(InvalidClientMetadata):
        check_metadata(metadata(**WRONG[why]))


GOOD: dict[str, dict[str, Any]] = {
    "the ordinary one": {},
    "a public one": PUBLIC,
    "a machine": {"grant_types": (CLIENT_CREDENTIALS,), "response_types": (), "redirect_uris": ()},
    "twenty addresses": {"redirect_uris": tuple(f"https://client.example/{n}" for n in range(20))},
    "pairwise over two hosts of one sector": {
        **PAIRWISE, "redirect_uris": TWO_HOSTS, "sector_identifier_uri": "https://one.example/sector",
    },
    "a native one": {
        **PUBLIC, "application_type": "native", "redirect_uris": ("http://127.0.0.1/cb", "com.example.app:/cb"),
    },
}  # fmt: skip


@pytest.mark.parametrize("why", GOOD)
def test_the_good_ones_pass(why: str) -> None:
    check_metadata(metadata(**GOOD[why]))

"""What the issuer says of itself (OpenID Connect Discovery, RFC 8414): exactly what it accepts.

`tests/openid/oidc_config/` holds both directions: each advertised value is
accepted, each accepted value advertised.
"""

from typing import Any

import msgspec

from libs.common.access.refusals import DPOP_ALGORITHMS
from libs.common.access.signatures import SIGNING_ALGORITHMS
from services.identity.openid.authorization_details import TYPES
from services.identity.openid.authorization_request import ACR_RANK, DISPLAYS, PROMPTS, RESPONSE_MODES
from services.identity.openid.clients import CLIENT_CREDENTIALS, CODE, REFRESH, TOKEN_EXCHANGE
from services.identity.openid.issuer import Issuer, supported_scopes
from services.identity.openid.tokens import SUPPORTED_CLAIMS

AUTHENTICATION_METHODS = ("private_key_jwt", "none")
SECRETS = ("client_secret_basic", "client_secret_post")
ASSERTION_ALGORITHMS = ("ES256", "EdDSA", "Ed25519", "PS256", "RS256")
UI_LOCALES = ("fr", "en")


def metadata(issuer: Issuer, *, compat: bool) -> dict[str, Any]:
    """The discovery document of a caisse that has opened the profile `compat`, or has not."""
    return {
        "issuer": issuer.url,
        **_endpoints(issuer),
        "scopes_supported": supported_scopes(),
        "response_types_supported": ["code"],
        "response_modes_supported": list(RESPONSE_MODES),
        "grant_types_supported": [CODE, REFRESH, CLIENT_CREDENTIALS, TOKEN_EXCHANGE],
        "acr_values_supported": list(ACR_RANK),
        "subject_types_supported": ["public", "pairwise"],
        "id_token_signing_alg_values_supported": list(SIGNING_ALGORITHMS),
        "userinfo_signing_alg_values_supported": list(SIGNING_ALGORITHMS),
        "introspection_signing_alg_values_supported": list(SIGNING_ALGORITHMS),
        "request_object_signing_alg_values_supported": list(ASSERTION_ALGORITHMS),
        **_client_authentication(compat=compat),
        "code_challenge_methods_supported": ["S256"],
        "dpop_signing_alg_values_supported": list(DPOP_ALGORITHMS),
        "authorization_response_iss_parameter_supported": True,
        "authorization_details_types_supported": list(TYPES),
        "claims_supported": list(SUPPORTED_CLAIMS),
        "claim_types_supported": ["normal"],
        "claims_parameter_supported": True,
        "request_parameter_supported": True,
        # openid.md §5: silence would mean true. `compat` clients may register one (OpenID Connect Core §6.2).
        "request_uri_parameter_supported": compat,
        "require_request_uri_registration": True,
        "require_pushed_authorization_requests": False,
        "require_signed_request_object": False,
        "display_values_supported": list(DISPLAYS),
        "prompt_values_supported": list(PROMPTS),
        "ui_locales_supported": list(UI_LOCALES),
        "backchannel_logout_supported": True,
        "backchannel_logout_session_supported": True,
        "protected_resources": list(issuer.audiences),
    }


def _endpoints(issuer: Issuer) -> dict[str, str]:
    return {
        "authorization_endpoint": issuer.endpoint("/authorize"),
        "token_endpoint": issuer.endpoint("/token"),
        "userinfo_endpoint": issuer.endpoint("/userinfo"),
        "jwks_uri": issuer.endpoint("/jwks"),
        "registration_endpoint": issuer.endpoint("/register"),
        "pushed_authorization_request_endpoint": issuer.endpoint("/par"),
        "introspection_endpoint": issuer.endpoint("/introspect"),
        "revocation_endpoint": issuer.endpoint("/revoke"),
        "end_session_endpoint": issuer.endpoint("/end-session"),
    }


def _client_authentication(*, compat: bool) -> dict[str, list[str]]:
    told: dict[str, list[str]] = {}
    accepted = AUTHENTICATION_METHODS + (SECRETS if compat else ())
    for endpoint in ("token", "revocation", "introspection"):
        methods = [method for method in accepted if endpoint != "introspection" or method != "none"]
        told[f"{endpoint}_endpoint_auth_methods_supported"] = methods
        told[f"{endpoint}_endpoint_auth_signing_alg_values_supported"] = list(ASSERTION_ALGORITHMS)
    return told


def document(issuer: Issuer, *, compat: bool) -> bytes:
    return msgspec.json.encode(metadata(issuer, compat=compat))

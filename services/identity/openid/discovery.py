"""What the issuer says of itself (OpenID Connect Discovery, RFC 8414): exactly what it accepts.

A caisse that opens `compat`, or registration, says so, and stops saying so within a second
of closing it. `tests/openid/oidc_config/` holds both directions: each advertised value is
accepted, each accepted value advertised.
"""

from typing import Any

import msgspec

from libs.common.access.refusals import DPOP_ALGORITHMS
from libs.common.access.signatures import SIGNING_ALGORITHMS
from services.identity.openid.authorization_details import TYPES
from services.identity.openid.authorization_request import DISPLAYS, PROMPTS, RESPONSE_MODES
from services.identity.openid.clients import CLIENT_CREDENTIALS, CODE, REFRESH, TOKEN_EXCHANGE
from services.identity.openid.foreign_jwt import ALGORITHMS
from services.identity.openid.issuer import SUPPORTED_SCOPES, Issuer
from services.identity.openid.person_claims import SUPPORTED_CLAIMS
from services.identity.sign_in.session import ACR_RANK

AUTHENTICATION_METHODS = ("private_key_jwt", "none")
COMPAT_METHODS = ("client_secret_basic", "client_secret_post")
UI_LOCALES = ("fr", "en")


def metadata(issuer: Issuer) -> dict[str, Any]:
    """The discovery document.

    RS256 stands in every caisse's lists: Discovery §3 requires it, and a `standard` client may choose it.
    """
    opened = issuer.keys.opened
    return {
        "issuer": issuer.url,
        **_endpoints(issuer),
        "scopes_supported": list(SUPPORTED_SCOPES),
        "response_types_supported": ["code"],
        "response_modes_supported": list(RESPONSE_MODES),
        "grant_types_supported": [CODE, REFRESH, CLIENT_CREDENTIALS, TOKEN_EXCHANGE],
        "acr_values_supported": list(ACR_RANK),
        "subject_types_supported": ["public", "pairwise"],
        "id_token_signing_alg_values_supported": list(SIGNING_ALGORITHMS),
        "userinfo_signing_alg_values_supported": list(SIGNING_ALGORITHMS),
        "introspection_signing_alg_values_supported": list(SIGNING_ALGORITHMS),
        "request_object_signing_alg_values_supported": list(ALGORITHMS),
        **_client_authentication(opened.compat),
        "code_challenge_methods_supported": ["S256"],
        "dpop_signing_alg_values_supported": list(DPOP_ALGORITHMS),
        "authorization_response_iss_parameter_supported": True,
        "authorization_details_types_supported": list(TYPES),
        "claims_supported": list(SUPPORTED_CLAIMS),
        "claim_types_supported": ["normal"],
        "claims_parameter_supported": True,
        "request_parameter_supported": True,
        # Registered beforehand, fetched by the guarded fetcher. Said either way: silence would mean true.
        "request_uri_parameter_supported": opened.compat,
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


def resource_metadata_address(issuer: Issuer) -> str:
    """RFC 9728 §3.1: the well-known segment stands before the path."""
    base = issuer.url.removesuffix(f"/{issuer.caisse}")
    return f"{base}/.well-known/oauth-protected-resource/{issuer.caisse}"


def resource_metadata(issuer: Issuer) -> dict[str, Any]:
    """RFC 9728 §2, of the issuer as a resource server: UserInfo, which takes a posted form and a `compat` client's
    bearer token too, and the APIs of administration and delegation, which take neither.
    """
    return {
        "resource": issuer.url,
        "resource_name": "Espace",
        "authorization_servers": [issuer.url],
        "scopes_supported": sorted(issuer.audiences[issuer.url].scopes),
        "bearer_methods_supported": ["header", "body"],
        "dpop_bound_access_tokens_required": False,
        "dpop_signing_alg_values_supported": list(DPOP_ALGORITHMS),
    }


def _endpoints(issuer: Issuer) -> dict[str, str]:
    registers = (
        {"registration_endpoint": issuer.endpoint("/register")} if issuer.keys.opened.registers else {}
    )
    return {
        "authorization_endpoint": issuer.endpoint("/authorize"),
        "token_endpoint": issuer.endpoint("/token"),
        "userinfo_endpoint": issuer.endpoint("/userinfo"),
        "jwks_uri": issuer.endpoint("/jwks"),
        **registers,
        "pushed_authorization_request_endpoint": issuer.endpoint("/par"),
        "introspection_endpoint": issuer.endpoint("/introspect"),
        "revocation_endpoint": issuer.endpoint("/revoke"),
        "end_session_endpoint": issuer.endpoint("/end-session"),
    }


def _client_authentication(compat: bool) -> dict[str, list[str]]:
    accepted = AUTHENTICATION_METHODS + (COMPAT_METHODS if compat else ())
    told: dict[str, list[str]] = {}
    for endpoint in ("token", "revocation", "introspection"):
        methods = [method for method in accepted if endpoint != "introspection" or method != "none"]
        told[f"{endpoint}_endpoint_auth_methods_supported"] = methods
        told[f"{endpoint}_endpoint_auth_signing_alg_values_supported"] = list(ALGORITHMS)
    return told


def document(issuer: Issuer) -> bytes:
    return msgspec.json.encode(metadata(issuer))

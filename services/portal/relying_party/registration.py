"""How the portal is registered at each caisse's issuer, as RFC 7591 metadata."""

from typing import Any, Final

from libs.common.access.rights import ADMINISTRATOR
from libs.common.access.signatures import SigningKey
from libs.common.runtime.settings import Settings
from libs.common.values.caisse_slug import CaisseSlug

CLIENT_ID: Final = "portal"
"""The same identifier at every caisse; each registration is a row of that caisse."""

SCOPE: Final = " ".join(["openid", "profile", "email", "offline_access", *sorted(ADMINISTRATOR)])
"""What the portal may show and do: whatever its people may, never more than each of them holds."""


def portal_registration(settings: Settings, caisse: CaisseSlug) -> dict[str, Any]:
    """The metadata of client `portal` at `caisse`, its public key included.

    The caisse's own portal asks no consent (`consent: implicit`): it shows people what is theirs.
    """
    base = f"{settings.portal.base.rstrip('/')}/{caisse}"
    key = SigningKey.from_pem(settings.portal.client_key)
    return {
        "client_name": "Espace sécurisé Entreprise",
        "profile": "fapi",
        "consent": "implicit",
        "token_endpoint_auth_method": "private_key_jwt",
        "token_endpoint_auth_signing_alg": key.alg,
        "jwks": {"keys": [key.published_jwk()]},
        "redirect_uris": [f"{base}/callback"],
        "post_logout_redirect_uris": [f"{base}/signed-out"],
        "backchannel_logout_uri": f"{base}/backchannel-logout",
        "backchannel_logout_session_required": True,
        "initiate_login_uri": f"{base}/sign-in",
        "grant_types": [
            "authorization_code",
            "refresh_token",
            "urn:ietf:params:oauth:grant-type:token-exchange",
        ],
        "scope": SCOPE,
        "resources": [
            f"{service.base.rstrip('/')}/{caisse}"
            for service in (settings.identity, settings.adherent, settings.documents)
        ],
        "require_pushed_authorization_requests": True,
        "dpop_bound_access_tokens": True,
    }

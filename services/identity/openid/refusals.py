"""The OAuth error codes we answer, one class each.

The description is for the developer of the client and never says more than
the code does about a secret, a person or a mandate.
"""

from authlib.oauth2.rfc6749.errors import (
    AccessDeniedError,
    InvalidClientError,
    InvalidGrantError,
    InvalidRequestError,
    InvalidScopeError,
    OAuth2Error,
    UnauthorizedClientError,
    UnsupportedGrantTypeError,
    UnsupportedResponseTypeError,
)

Refusal = OAuth2Error


class InvalidRequest(InvalidRequestError):
    """RFC 6749 §4.1.2.1, §5.2."""


class InvalidClient(InvalidClientError):
    """RFC 6749 §5.2: unknown, disabled or unproven client, deliberately one answer."""

    status_code = 401

    def __init__(self, description: str = "The client could not be authenticated.") -> None:
        super().__init__(description=description, status_code=401)


class InvalidGrant(InvalidGrantError):
    """RFC 6749 §5.2: unknown, spent, expired, foreign or revoked, deliberately one answer."""

    def __init__(self, description: str = "The grant is not valid.") -> None:
        super().__init__(description=description)


class InvalidScope(InvalidScopeError):
    """RFC 6749 §5.2."""


class UnauthorizedClient(UnauthorizedClientError):
    """RFC 6749 §5.2."""


class AccessDenied(AccessDeniedError):
    """RFC 6749 §4.1.2.1: the person, or the gate, said no."""


class InvalidTarget(OAuth2Error):
    """RFC 8707 §2."""

    error = "invalid_target"

    def __init__(self, description: str = "The resource is unknown or not open to this client.") -> None:
        super().__init__(description=description)


class InvalidDpopProof(OAuth2Error):
    """RFC 9449 §5."""

    error = "invalid_dpop_proof"

    def __init__(self, description: str = "The DPoP proof is not acceptable.") -> None:
        super().__init__(description=description)


class UseDpopNonce(OAuth2Error):
    """RFC 9449 §8: the answer carries the nonce to use."""

    error = "use_dpop_nonce"

    def __init__(self) -> None:
        super().__init__(description="The authorization server requires a nonce in the DPoP proof.")


class SlowDown(OAuth2Error):
    """RFC 6585 §4, by the name that RFC 8628 §3.5 registered: ask anew in a moment."""

    error = "slow_down"
    status_code = 429

    def __init__(self) -> None:
        super().__init__(description="The machines of this cabinet ask too fast.")


class InvalidAuthorizationDetails(OAuth2Error):
    """RFC 9396 §5 at authorization, §8 at the token endpoint."""

    error = "invalid_authorization_details"


class InvalidRequestObject(OAuth2Error):
    """RFC 9101 §7."""

    error = "invalid_request_object"


class InvalidRequestUri(OAuth2Error):
    """RFC 9101 §7."""

    error = "invalid_request_uri"


class RequestUriNotSupported(OAuth2Error):
    """OpenID Connect Core §3.1.2.6."""

    error = "request_uri_not_supported"


class RequestNotSupported(OAuth2Error):
    """OpenID Connect Core §3.1.2.6: an unsigned request object."""

    error = "request_not_supported"


class LoginRequired(OAuth2Error):
    """OpenID Connect Core §3.1.2.6."""

    error = "login_required"


class InteractionRequired(OAuth2Error):
    """OpenID Connect Core §3.1.2.6."""

    error = "interaction_required"


class ConsentRequired(OAuth2Error):
    """OpenID Connect Core §3.1.2.6."""

    error = "consent_required"


class AccountSelectionRequired(OAuth2Error):
    """OpenID Connect Core §3.1.2.6."""

    error = "account_selection_required"


class UnmetAuthenticationRequirements(OAuth2Error):
    """OpenID Connect Unmet Authentication Requirements 1.0."""

    error = "unmet_authentication_requirements"


__all__ = [
    "AccessDenied",
    "AccountSelectionRequired",
    "ConsentRequired",
    "InteractionRequired",
    "InvalidAuthorizationDetails",
    "InvalidClient",
    "InvalidDpopProof",
    "InvalidGrant",
    "InvalidRequest",
    "InvalidRequestObject",
    "InvalidRequestUri",
    "InvalidScope",
    "InvalidTarget",
    "LoginRequired",
    "Refusal",
    "RequestNotSupported",
    "RequestUriNotSupported",
    "SlowDown",
    "UnauthorizedClient",
    "UnmetAuthenticationRequirements",
    "UnsupportedGrantTypeError",
    "UnsupportedResponseTypeError",
    "UseDpopNonce",
]

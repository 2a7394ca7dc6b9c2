"""Why an API says no, and the words of RFC 6750, 9449 and 9470 in which it says so."""

from collections.abc import Mapping
from typing import Any, Final

from libs.common.refusals import DomainError, Unavailable

DPOP_ALGORITHMS: Final = ("ES256", "EdDSA", "Ed25519", "PS256")
"""What a proof may be signed with, the weakest client's choice included."""


class AccessRefused(DomainError):
    """A request without sufficient power. `error` is the registered OAuth code, if any.

    The message is the precise reason, for the log; the caller reads only the code.
    """

    error: str | None = None
    description: str | None = None

    def __init__(self, reason: str = "", **parameters: str) -> None:
        super().__init__(reason)
        self.parameters: dict[str, str] = dict(parameters)
        self.headers: dict[str, str] = {}

    def challenge(self, *, resource_metadata: str, nonce: str | None = None) -> "AccessRefused":
        """Write the `WWW-Authenticate` that tells the client what to bring (RFC 9449 §7.1, RFC 9728 §5.1)."""
        said: dict[str, str] = {}
        if self.error is not None:
            said["error"] = self.error
        if self.description is not None:
            said["error_description"] = self.description
        said |= self.parameters | {"algs": " ".join(DPOP_ALGORITHMS), "resource_metadata": resource_metadata}
        self.headers["WWW-Authenticate"] = "DPoP " + ", ".join(
            f'{name}="{value}"' for name, value in said.items()
        )
        if nonce is not None:
            self.headers["DPoP-Nonce"] = nonce
        return self

    @property
    def members(self) -> Mapping[str, Any]:
        """What the problem document and its headers add to the table's line."""
        told: dict[str, Any] = {"headers": self.headers}
        if self.error is not None:
            told["error"] = self.error
        return told | self.parameters


class NoToken(AccessRefused):
    """Nothing was presented: the challenge carries no error code (RFC 6750 §3.1)."""


class AmbiguousRequest(AccessRefused):
    """Two `Authorization` or `DPoP` headers, or an unreadable one."""

    error = "invalid_request"
    description = "One Authorization and one DPoP header are expected"


class InvalidToken(AccessRefused):
    """Expired, malformed, forged, revoked, or meant for somebody else: one answer."""

    error = "invalid_token"
    description = "The access token is invalid or expired"


class InvalidProof(AccessRefused):
    """The DPoP proof does not prove the possession of the token's key, here and now (RFC 9449 §4.3)."""

    error = "invalid_dpop_proof"
    description = "The DPoP proof is missing or invalid"


class NonceWanted(AccessRefused):
    """Sign again with the nonce of this answer (RFC 9449 §8, §9)."""

    error = "use_dpop_nonce"
    description = "A nonce is required in the DPoP proof"


class InsufficientScope(AccessRefused):
    """The token is good but does not hold the right (RFC 6750 §3.1)."""

    error = "insufficient_scope"
    description = "The access token lacks the right"


class NotDelegable(InsufficientScope):
    """This act belongs to the firm's own people, whatever the cabinet holds."""

    description = "This act cannot be delegated"


class BeyondMandate(InsufficientScope):
    """The act is about the whole firm, and the mandate about some of its establishments (delegation.md §3, check 4)."""

    description = "The mandate is limited to some establishments, and this concerns the whole firm"


class InsufficientAuthentication(AccessRefused):
    """A stronger or fresher sign-in is needed for this act (RFC 9470 §3)."""

    error = "insufficient_user_authentication"
    description = "A more recent or stronger authentication is required"


class RevocationsUnknown(Unavailable):
    """The revocation stream is silent and identity does not answer: no delegated act is let through."""

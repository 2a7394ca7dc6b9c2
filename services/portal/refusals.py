"""Why a page of the portal cannot be shown, and what the person is told."""

from collections.abc import Mapping

from libs.common.refusals import DomainError, Unavailable


class SignInWanted(DomainError):
    """No session in this browser: the person signs in and comes back."""


class SessionOver(DomainError):
    """Identity or a service no longer honours the session: told on a page, never by a silent loop."""


class StepUpWanted(DomainError):
    """A service wants a stronger or fresher sign-in for this act (RFC 9470 §3).

    `members` holds what it named: `acr_values` (levels, the least first), `max_age` (seconds).
    """

    def __init__(self, asked: Mapping[str, str]) -> None:
        super().__init__(" ".join(asked))
        self.members = asked


class SignInNotFinished(DomainError):
    """The answer to a sign-in that this browser did not begin, already used, or too old."""


class SignInRefused(DomainError):
    """Identity answered the authorization request by an error; `code` is RFC 6749 §4.1.2.1's."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class ServiceDown(Unavailable):
    """A service does not answer, or not in time. Its name is `service`: identity, adherent, documents."""

    def __init__(self, service: str) -> None:
        super().__init__(service)
        self.service = service


class MandateOver(DomainError):
    """Identity gives no token on this mandate: revoked, ended, suspended, or never ours."""


class NotAllowed(DomainError):
    """The service refuses this act to this person."""

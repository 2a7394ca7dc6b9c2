"""Why the domain says no. A refusal knows no status code: `libs.common.http.problems` maps it."""


class DomainError(Exception):
    """A refusal that a caller may meet. Subclasses say the reason in their docstring.

    The message, if any, is for the log; the caller gets the public sentence of
    the table in `libs.common.http.problems`, so a precise reason never leaks.
    """


class NotFound(DomainError):
    """Nothing here, or nothing the caller may see: deliberately one answer."""


class Unavailable(DomainError):
    """Something we depend on does not answer. An outage is never a refusal."""

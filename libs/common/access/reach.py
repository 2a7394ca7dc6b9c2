"""How far a delegated token reaches: some establishments of the firm, or all of it (delegation.md §3, check 4).

Every permission of a route that a cabinet may use takes one of the two; `tests/structure/test_permissions.py`.
"""

from uuid import UUID

from libs.common.access.access_token import AccessToken
from libs.common.access.refusals import BeyondMandate


def establishments_of(token: AccessToken) -> frozenset[UUID] | None:
    """Those that the mandate names; None for all of them, as for the firm's own people."""
    return None if token.mandate is None else token.mandate.establishments


def reach_the_whole_firm(token: AccessToken) -> None:
    """For what cannot be cut by establishment. Raises `BeyondMandate`."""
    if establishments_of(token) is not None:
        raise BeyondMandate("limited to some establishments")

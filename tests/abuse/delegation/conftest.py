"""Pages and API of delegation in this process."""

from tests.identity.delegation.test_delegation_pages import app

__all__ = ["app"]

"""Identity in this process, a mail server and two caisses, as the tests of sign-in have them."""

from tests.identity.conftest import app, clock, held, paper, post, visitor

__all__ = ["app", "clock", "held", "paper", "post", "visitor"]

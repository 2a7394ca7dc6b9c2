"""Identity in this process, and clients with keys, as the tests of OpenID have them."""

from tests.openid.conftest import caisse, held, issuer

__all__ = ["caisse", "held", "issuer"]

"""A workshop and the documents service, as its own tests have them."""

from tests.documents.conftest import documents_api, eligibility, firms, issuer, shop

__all__ = ["documents_api", "eligibility", "firms", "issuer", "shop"]

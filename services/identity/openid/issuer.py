"""The issuer of one caisse, as the kernel sees it: names, keys and audiences, no I/O."""

from typing import Final

from msgspec import Struct

from libs.common.access import rights
from libs.common.values.caisse_slug import CaisseSlug
from services.identity.signing_keys.key_ring import KeyRing

OPENID_SCOPES = frozenset({"openid", "profile", "email", "address", "phone", "offline_access"})
"""About the person and the session, not about a firm; only the issuer's own tokens carry them."""

_ADHERENT_RESOURCES = frozenset({"declaration", "payment", "leave", "weather", "employee"})
_DOCUMENTS_RESOURCES = frozenset({"attestation", "document", "message"})


class Audience(Struct, frozen=True):
    """A resource server of the caisse, and the scopes that mean something there."""

    uri: str
    scopes: frozenset[str]


class Issuer(Struct, frozen=True):
    """One caisse's issuer. `url` is its identifier and the only accepted assertion audience."""

    caisse: CaisseSlug
    url: str
    audiences: dict[str, Audience]
    keys: KeyRing

    def endpoint(self, path: str) -> str:
        return f"{self.url}{path}"


def audiences_of(identity: str, adherent: str, documents: str) -> dict[str, Audience]:
    """The three audiences, by URI. `attestation.read` opens the standing too, which is the adherent service's."""
    domain = rights.DELEGABLE
    of_adherent = {s for s in domain if s.partition(".")[0] in _ADHERENT_RESOURCES}
    of_documents = {s for s in domain if s.partition(".")[0] in _DOCUMENTS_RESOURCES}
    return {
        identity: Audience(identity, OPENID_SCOPES | rights.NEVER_DELEGABLE | rights.ADMINISTRATION),
        adherent: Audience(
            adherent, frozenset(of_adherent | {"standing.read", "attestation.read", "bank.manage"})
        ),
        documents: Audience(documents, frozenset(of_documents)),
    }


SUPPORTED_SCOPES: Final = tuple(sorted(OPENID_SCOPES | rights.ADMINISTRATOR | rights.SERVICE))
"""What discovery advertises: exactly what an authorization or a token request may ask."""

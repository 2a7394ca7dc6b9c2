"""What only ciphertext says of an attestation: its facts, its code, and why it was granted."""

from uuid import UUID

import msgspec

from libs.common.keys.key_encryption import KeyEncryption
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.crockford import CheckedCode
from services.documents.attestations.payload import Facts, Payload, read_payload
from services.documents.attestations.render import Addresses

DRAFT = "documents/attestation-draft"
PAYLOAD = "documents/attestation-payload"
CODE = "documents/verification-code"
CODE_SYMBOLS = 16
"""80 bits, then one check character (attestations.md §10)."""


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """Drawn and judged at the first step, frozen until the end: a retry prints the same paper."""

    facts: Facts
    code: CheckedCode
    page: str
    status_uri: str
    judgement: msgspec.Raw

    @property
    def addresses(self) -> Addresses:
        """The page of the caisse, and the short address that the QR code holds."""
        base = self.page.rsplit("/", 2)[0]
        return Addresses(self.page, f"{base}/a/{self.code}")


def close_draft(keys: KeyEncryption, caisse: CaisseSlug, attestation_id: UUID, draft: Draft) -> bytes:
    return keys.seal(DRAFT, msgspec.json.encode(draft), context=_context(caisse, attestation_id))


def open_draft(keys: KeyEncryption, caisse: CaisseSlug, attestation_id: UUID, sealed: bytes) -> Draft:
    return msgspec.json.decode(keys.open(DRAFT, sealed, context=_context(caisse, attestation_id)), type=Draft)


def close_payload(keys: KeyEncryption, caisse: CaisseSlug, attestation_id: UUID, canonical: bytes) -> bytes:
    return keys.seal(PAYLOAD, canonical, context=_context(caisse, attestation_id))


def open_payload(keys: KeyEncryption, caisse: CaisseSlug, attestation_id: UUID, sealed: bytes) -> Payload:
    return read_payload(keys.open(PAYLOAD, sealed, context=_context(caisse, attestation_id)))


def mac_of_code(keys: KeyEncryption, code: str) -> bytes:
    """What finds an attestation by its code: HMAC-SHA-256 under the installation's pepper."""
    return keys.mac(CODE, code.encode())


def _context(caisse: CaisseSlug, attestation_id: UUID) -> bytes:
    return f"{caisse}/{attestation_id}".encode()

"""How a private key rests in its row: sealed for this purpose, this caisse and this kid."""

from typing import cast

from libs.common.access.signatures import Algorithm, SigningKey
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.values.caisse_slug import CaisseSlug
from services.identity.signing_keys.store import StoredKey

PURPOSE = "signing-key"


def context(caisse: CaisseSlug, kid: str) -> bytes:
    return f"{caisse}/{kid}".encode()


def open_key(keys: KeyEncryption, caisse: CaisseSlug, row: StoredKey) -> SigningKey:
    """Raises `SealBroken` when the row was altered, moved, or sealed under another key."""
    pem = keys.open(PURPOSE, row.sealed, context=context(caisse, row.kid))
    return SigningKey.from_pem(pem, cast(Algorithm, row.algorithm))

"""Secrets at rest: one key-encryption key, one derived key a purpose.

AES-256-GCM under a key derived by HKDF-SHA-256 (RFC 5869) for each purpose, so
that a mail's parameters can never be opened as a signing key. The context
(row id, caisse …) is authenticated: a ciphertext moved to another row does not open.
"""

import hashlib
import hmac
import os
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

VERSION = b"\x01"


class SealBroken(Exception):
    """The ciphertext was altered, moved, or sealed under another key."""


class KeyEncryption:
    """Seals and opens under one 32-byte key-encryption key; holds no state but that key."""

    __slots__ = ("_derived",)

    def __init__(self, key_encryption_key: bytes) -> None:
        if len(key_encryption_key) != 32:
            raise ValueError("the key-encryption key is 32 bytes")

        @lru_cache(maxsize=64)
        def derived(purpose: str) -> bytes:
            info = b"espace/" + purpose.encode()
            return HKDF(hashes.SHA256(), length=32, salt=None, info=info).derive(key_encryption_key)

        self._derived = derived

    def seal(self, purpose: str, plaintext: bytes, *, context: bytes) -> bytes:
        """Version byte, 12-byte random nonce, ciphertext and tag."""
        nonce = os.urandom(12)
        return VERSION + nonce + AESGCM(self._derived(purpose)).encrypt(nonce, plaintext, VERSION + context)

    def open(self, purpose: str, sealed: bytes, *, context: bytes) -> bytes:
        """What `seal` took. Raises `SealBroken`."""
        if sealed[:1] != VERSION or len(sealed) < 29:
            raise SealBroken
        try:
            return AESGCM(self._derived(purpose)).decrypt(sealed[1:13], sealed[13:], VERSION + context)
        except InvalidTag as error:
            raise SealBroken from error

    def mac(self, purpose: str, message: bytes) -> bytes:
        """HMAC-SHA-256 under the purpose's pepper: to find a code without storing it."""
        return hmac.new(self._derived("mac/" + purpose), message, hashlib.sha256).digest()

    def key_for(self, purpose: str) -> bytes:
        """The 32 derived bytes of a purpose, for a library that keys itself."""
        return self._derived(purpose)

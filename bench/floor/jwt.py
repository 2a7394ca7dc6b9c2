"""Signatures of the floor: the caisse's own keys, read once; compact JWS opened and made by hand."""

import base64
import hashlib
from typing import Any

import msgspec

from libs.common.access.signatures import SigningKey, VerifyingKey, verifying_key
from libs.common.database.pool import Database
from libs.common.keys.root_key import open_key_encryption
from libs.common.runtime.settings import Settings
from libs.common.values.caisse_slug import CaisseSlug
from services.identity.signing_keys import store
from services.identity.signing_keys.sealing import open_key

decode, encode = msgspec.json.decode, msgspec.json.encode


class Keys:
    """What signs and what verifies; a rotation during the bench would not be seen."""

    def __init__(self, signing: SigningKey, published: list[dict[str, str]]) -> None:
        self._signing = signing
        self.verifying: dict[str, VerifyingKey] = {
            jwk["kid"]: verifying_key(jwk, jwk["alg"], kid=jwk["kid"]) for jwk in published
        }
        self.jwks = encode({"keys": published})
        self._heads = {
            typ: _b64url(encode({"typ": typ, "kid": signing.kid, "alg": signing.alg}))
            for typ in ("at+jwt", "JWT")
        }

    @classmethod
    async def read(cls, settings: Settings, caisse: CaisseSlug) -> "Keys":
        db, encryption = (
            await Database.open(settings.identity.dsn, name="floor", max_size=1),
            open_key_encryption(settings),
        )
        async with db.transaction(caisse) as tx:
            rows = await store.published(tx)
        await db.close()
        (active,) = (row for row in rows if row.state == "active" and row.algorithm == "ES256")
        return cls(open_key(encryption, caisse, active), [row.public_jwk for row in rows])

    def sign(self, claims: dict[str, Any], typ: str) -> str:
        signed = self._heads[typ] + b"." + _b64url(encode(claims))
        return (signed + b"." + _b64url(self._signing.sign(signed))).decode()


def opened(compact: str) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
    """Header, claims, signature, and what was signed; nothing in it is believed yet."""
    head, payload, signature = compact.encode("ascii").split(b".")
    return decode(_raw(head)), decode(_raw(payload)), _raw(signature), head + b"." + payload


def own_claims(keys: Keys, compact: str, issuer: str) -> dict[str, Any]:
    """The claims of an access token of ours. Raises `ValueError`."""
    header, claims, signature, signed = opened(compact)
    key = keys.verifying[header["kid"]]
    if header["alg"] != key.alg or header["typ"] != "at+jwt" or not key.verifies(signature, signed):
        raise ValueError("not ours")
    if claims["iss"] != issuer:
        raise ValueError("another issuer's")
    return claims


def at_hash(access_token: str) -> str:
    return _b64url(hashlib.sha256(access_token.encode()).digest()[:16]).decode()


def _raw(part: bytes) -> bytes:
    return base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))


def _b64url(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")

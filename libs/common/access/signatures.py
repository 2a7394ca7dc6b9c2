"""The little of JOSE that runs on every request, on `cryptography` directly.

A key has exactly one algorithm: the header of a token never chooses one, it can
only disagree and be refused (RFC 8725 §3.1). `none` and HS* do not exist here.
"""

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

Algorithm = Literal["ES256", "EdDSA", "PS256", "RS256"]
PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey
PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

SIGNING_ALGORITHMS: Final[tuple[Algorithm, ...]] = ("ES256", "EdDSA", "PS256", "RS256")
_SAME_AS: Final = {"Ed25519": "EdDSA"}
"""RFC 9864 §2.2 names the curve; RFC 8037 did not. With an Ed25519 key both are one algorithm."""
PRIVATE_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
RSA_BITS: Final = range(2048, 4097)
_P256 = ec.SECP256R1()
_ECDSA = ec.ECDSA(SHA256())
_SHA256 = SHA256()
_PSS = padding.PSS(mgf=padding.MGF1(_SHA256), salt_length=32)
_PKCS1 = padding.PKCS1v15()
_REQUIRED_MEMBERS = {"EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x"), "RSA": ("e", "kty", "n")}


class Malformed(ValueError):
    """Not the compact, canonical form that we read. The message is for our log."""


class UnusableKey(ValueError):
    """A JWK that we do not verify with: kind, curve, size, or a private member."""


def b64url(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def unb64url(text: str | bytes) -> bytes:
    """Decode base64url without padding, one spelling only: no blank, no stray bit, no other alphabet."""
    given = text.encode("ascii", "replace") if isinstance(text, str) else text
    try:
        raw = urlsafe_b64decode(given + b"=" * (-len(given) % 4))
    except ValueError as error:
        raise Malformed("not base64url") from error
    if urlsafe_b64encode(raw).rstrip(b"=") != given:
        raise Malformed("not canonical base64url")
    return raw


class Compact(NamedTuple):
    """A compact JWS (RFC 7515 §7.1) taken apart; nothing in it is believed yet."""

    header: bytes
    payload: bytes
    signature: bytes
    signed: bytes


def split_compact(text: str, *, limit: int) -> Compact:
    """Take a JWS of at most `limit` characters apart. Raises `Malformed`."""
    if len(text) > limit:
        raise Malformed("too long")
    if not text.isascii():
        raise Malformed("not ASCII")
    parts = text.encode().split(b".")
    if len(parts) != 3:
        raise Malformed("not three parts")
    header, payload, signature = parts
    return Compact(unb64url(header), unb64url(payload), unb64url(signature), header + b"." + payload)


class VerifyingKey:
    """A public key with its one algorithm."""

    __slots__ = ("_public", "alg", "kid")
    alg: Algorithm

    def __init__(self, kid: str, alg: Algorithm, public: PublicKey) -> None:
        self.kid = kid
        self.alg = alg
        self._public = public

    def verifies(self, signature: bytes, signed: bytes) -> bool:
        public = self._public
        try:
            if isinstance(public, ec.EllipticCurvePublicKey):
                if len(signature) != 64:
                    return False
                r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
                public.verify(encode_dss_signature(r, s), signed, _ECDSA)
            elif isinstance(public, ed25519.Ed25519PublicKey):
                public.verify(signature, signed)
            else:
                public.verify(signature, signed, _PSS if self.alg == "PS256" else _PKCS1, _SHA256)
        except (InvalidSignature, ValueError):
            return False
        return True


def verifying_key(jwk: Mapping[str, object], alg: str, *, kid: str = "") -> VerifyingKey:
    """The key of a public JWK for one algorithm, by either of its names. Raises `UnusableKey`."""
    if PRIVATE_MEMBERS & jwk.keys():
        raise UnusableKey("carries a private or symmetric member")
    alg, meant = _SAME_AS.get(alg, alg), str(jwk.get("alg", alg))
    if _SAME_AS.get(meant, meant) != alg:
        raise UnusableKey("meant for another algorithm")
    if jwk.get("use", "sig") != "sig":
        raise UnusableKey("not a signing key")
    kind = jwk.get("kty")
    members = tuple(jwk.get(name) for name in _REQUIRED_MEMBERS.get(str(kind), ()))
    if not all(isinstance(member, str) and len(member) <= 700 for member in members):
        raise UnusableKey("members missing")
    return VerifyingKey(kid, *_loaded(alg, tuple(str(member) for member in members)))


@lru_cache(maxsize=1024)
def _loaded(alg: str, members: tuple[str, ...]) -> tuple[Algorithm, PublicKey]:
    # Checking that a point is on its curve costs as much as a signature: clients reuse their key.
    try:
        match alg, members:
            case "ES256", ("P-256", "EC", x, y):
                numbers = ec.EllipticCurvePublicNumbers(_fixed(x, 32), _fixed(y, 32), _P256)
                return "ES256", numbers.public_key()
            case "EdDSA", ("Ed25519", "OKP", x):
                return "EdDSA", ed25519.Ed25519PublicKey.from_public_bytes(unb64url(x))
            case (("PS256" | "RS256"), (e, "RSA", n)):
                modulus = int.from_bytes(unb64url(n), "big")
                # A huge exponent would make each verification a denial of service.
                if modulus.bit_length() not in RSA_BITS or unb64url(e) != b"\x01\x00\x01":
                    raise UnusableKey("RSA of another size or exponent")
                public = rsa.RSAPublicNumbers(65537, modulus).public_key()
                return ("PS256", public) if alg == "PS256" else ("RS256", public)
            case _:
                raise UnusableKey("key and algorithm do not belong together")
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UnusableKey(str(error)) from error


def _fixed(text: str, size: int) -> int:
    raw = unb64url(text)
    if len(raw) != size:
        raise UnusableKey("coordinate of another size")
    return int.from_bytes(raw, "big")


def thumbprint(jwk: Mapping[str, object]) -> str:
    """RFC 7638: SHA-256 of the required members in order, base64url."""
    members = {name: jwk[name] for name in _REQUIRED_MEMBERS[str(jwk["kty"])]}
    return b64url(hashlib.sha256(msgspec.json.encode(members)).digest())


class SigningKey:
    """A private key with its one algorithm; its `kid` is its thumbprint (RFC 7638)."""

    __slots__ = ("_private", "alg", "kid", "public_jwk")
    alg: Algorithm

    def __init__(self, alg: Algorithm, private: PrivateKey) -> None:
        self.alg = alg
        self._private = private
        self.public_jwk: dict[str, str] = public_jwk(private.public_key())
        self.kid = thumbprint(self.public_jwk)

    @classmethod
    def generate(cls, alg: Algorithm = "ES256") -> "SigningKey":
        match alg:
            case "ES256":
                return cls(alg, ec.generate_private_key(_P256))
            case "EdDSA":
                return cls(alg, ed25519.Ed25519PrivateKey.generate())
            case "PS256" | "RS256" as rsa_alg:
                return cls(rsa_alg, rsa.generate_private_key(65537, 2048))

    @classmethod
    def from_pem(cls, pem: str | bytes, rsa_alg: Algorithm = "PS256") -> "SigningKey":
        """Read a PKCS#8 PEM: ES256 for P-256, EdDSA for Ed25519, `rsa_alg` for RSA. Raises `UnusableKey`."""
        private = serialization.load_pem_private_key(
            pem.encode() if isinstance(pem, str) else pem, password=None
        )
        if isinstance(private, ec.EllipticCurvePrivateKey) and isinstance(private.curve, ec.SECP256R1):
            return cls("ES256", private)
        if isinstance(private, ed25519.Ed25519PrivateKey):
            return cls("EdDSA", private)
        if isinstance(private, rsa.RSAPrivateKey) and private.key_size in RSA_BITS:
            return cls(rsa_alg, private)
        raise UnusableKey("a signing key is EC P-256, Ed25519 or RSA of 2048 to 4096 bits")

    def pem(self) -> str:
        """PKCS#8, unencrypted: for a secret store, never for a log."""
        return self._private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()

    def sign(self, signed: bytes) -> bytes:
        private = self._private
        if isinstance(private, ec.EllipticCurvePrivateKey):
            r, s = decode_dss_signature(private.sign(signed, _ECDSA))
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
        if isinstance(private, ed25519.Ed25519PrivateKey):
            return private.sign(signed)
        return private.sign(signed, _PSS if self.alg == "PS256" else _PKCS1, _SHA256)

    def verifying(self) -> VerifyingKey:
        return VerifyingKey(self.kid, self.alg, self._private.public_key())

    def published_jwk(self) -> dict[str, str]:
        """The public JWK as a JWKS shows it, with `kid`, `alg` and `use`."""
        return {**self.public_jwk, "kid": self.kid, "alg": self.alg, "use": "sig"}


def public_jwk(public: PublicKey) -> dict[str, str]:
    """The required members of a public key, and only those."""
    if isinstance(public, ec.EllipticCurvePublicKey):
        point = public.public_numbers()
        x, y = point.x.to_bytes(32, "big"), point.y.to_bytes(32, "big")
        return {"crv": "P-256", "kty": "EC", "x": b64url(x), "y": b64url(y)}
    if isinstance(public, ed25519.Ed25519PublicKey):
        return {"crv": "Ed25519", "kty": "OKP", "x": b64url(public.public_bytes_raw())}
    numbers = public.public_numbers()
    modulus = numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")
    exponent = numbers.e.to_bytes((numbers.e.bit_length() + 7) // 8, "big")
    return {"e": b64url(exponent), "kty": "RSA", "n": b64url(modulus)}


def sign_compact(key: SigningKey, header: Mapping[str, Any], claims: object) -> str:
    """A compact JWS over `claims` as JSON; `alg` is the key's, whatever `header` says."""
    head = b64url(msgspec.json.encode({**header, "alg": key.alg}))
    signed = f"{head}.{b64url(msgspec.json.encode(claims))}".encode()
    return f"{signed.decode()}.{b64url(key.sign(signed))}"

"""DPoP (RFC 9449): a proof, made for one request, that the caller holds the token's key.

Verification is pure: the caller brings the time and remembers the proof
(`proof_memory.py`). Identity's endpoints and every API share it.
"""

import hashlib
import hmac
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final, NoReturn
from urllib.parse import quote, unquote, urlsplit
from uuid import uuid4

import msgspec
from msgspec import Struct

from libs.common.access.refusals import DPOP_ALGORITHMS, InvalidProof, NonceWanted
from libs.common.access.signatures import (
    Malformed,
    SigningKey,
    UnusableKey,
    b64url,
    sign_compact,
    split_compact,
    thumbprint,
    verifying_key,
)
from libs.common.values.foreign_json import UnreadableJson, read_json

PROOF_LIMIT: Final = 4096
"""Characters of a proof: one with an RSA-4096 key weighs about 2,400."""

OLDEST: Final = 60
"""Seconds a proof stays usable after it was made."""

AHEAD: Final = 30
"""Seconds a client's clock may run ahead of ours."""

DpopKey = SigningKey
"""The key pair of a DPoP client; `DpopKey.generate()`, `key.kid` is its `jkt`."""


class DpopProof(Struct, frozen=True):
    """A verified proof. `memory_key` must be remembered until `issued_at` is too old to be accepted."""

    jkt: str
    jti: str
    issued_at: datetime
    memory_key: bytes


class _Header(Struct, forbid_unknown_fields=True):
    typ: str
    alg: str
    jwk: dict[str, object]
    # Some clients send it; the key is `jwk`, and this chooses nothing.
    kid: str | None = None


class _Claims(Struct):
    jti: str
    htm: str
    htu: str
    iat: int | float
    ath: str | None = None
    nonce: str | None = None
    exp: int | float | None = None
    nbf: int | float | None = None


_header_decoder = msgspec.json.Decoder(_Header)
_claims_decoder = msgspec.json.Decoder(_Claims)


class Nonces:
    """Server nonces without a store: the HMAC of a slice of time, the same in every process of a service."""

    __slots__ = ("_key", "_slice")

    def __init__(self, key: bytes, *, slice_seconds: int = 120) -> None:
        self._key = key
        self._slice = slice_seconds

    def current(self, now: datetime) -> str:
        """The nonce to hand out; good for one to two slices."""
        return self._of(int(now.timestamp()) // self._slice)

    def accepts(self, nonce: str, now: datetime) -> bool:
        number = int(now.timestamp()) // self._slice
        return any(hmac.compare_digest(nonce.encode(), self._of(number - back).encode()) for back in (0, 1))

    def _of(self, number: int) -> str:
        mac = hmac.new(self._key, number.to_bytes(8, "big"), hashlib.sha256).digest()
        return urlsafe_b64encode(mac[:18]).decode()


def verify_proof(
    proofs: Sequence[str],
    *,
    method: str,
    url: str,
    now: datetime,
    access_token: str | None = None,
    jkt: str | None = None,
    nonces: Nonces | None = None,
) -> DpopProof:
    """Check the `DPoP` headers of a request (RFC 9449 §4.3), all but the memory of proofs seen.

    `url` is our public address of the endpoint, from the settings. `access_token`
    demands its hash in `ath`, `jkt` the key it is bound to, `nonces` a nonce of
    ours. Raises `InvalidProof` or `NonceWanted`.
    """
    if len(proofs) != 1:
        _refuse("missing" if not proofs else "several")
    claims, key_thumbprint = _opened(proofs[0])
    if jkt is not None and not hmac.compare_digest(key_thumbprint, jkt):
        _refuse("another key")
    if claims.htm != method:
        _refuse("htm")
    if _comparable(claims.htu) != _comparable(url):
        _refuse("htu")
    if access_token is not None and claims.ath != token_hash(access_token):
        _refuse("ath")
    _check_times(claims, now)
    if not 1 <= len(claims.jti) <= 256:
        _refuse("jti")
    if nonces is not None and (claims.nonce is None or not nonces.accepts(claims.nonce, now)):
        raise NonceWanted("nonce")
    return DpopProof(
        jkt=key_thumbprint,
        jti=claims.jti,
        issued_at=datetime.fromtimestamp(claims.iat, UTC),
        memory_key=hashlib.sha256(f"{key_thumbprint}.{claims.jti}".encode()).digest(),
    )


def _opened(proof: str) -> tuple[_Claims, str]:
    """Claims and key thumbprint of a proof whose own key signed it."""
    try:
        parts = split_compact(proof, limit=PROOF_LIMIT)
        header = read_json(parts.header, _header_decoder)
        if header.typ != "dpop+jwt":
            _refuse("typ")
        if header.alg not in DPOP_ALGORITHMS:
            _refuse("alg")
        key = verifying_key(header.jwk, header.alg)
        if not key.verifies(parts.signature, parts.signed):
            _refuse("signature")
        return read_json(parts.payload, _claims_decoder), thumbprint(header.jwk)
    except (Malformed, UnusableKey, UnreadableJson) as error:
        raise InvalidProof(type(error).__name__) from error


def _check_times(claims: _Claims, now: datetime) -> None:
    instant = now.timestamp()
    if not instant - OLDEST <= claims.iat <= instant + AHEAD:
        _refuse("iat")
    if claims.exp is not None and claims.exp + AHEAD <= instant:
        _refuse("exp")
    if claims.nbf is not None and claims.nbf > instant + AHEAD:
        _refuse("nbf")


def _comparable(url: str) -> tuple[str, str, int | None, str]:
    """Scheme, host, port and path in normal form (RFC 3986 §6.2), without query nor fragment."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InvalidProof("htu") from error
    scheme = parts.scheme.lower()
    if port == {"https": 443, "http": 80}.get(scheme):
        port = None
    if parts.username is not None:
        _refuse("htu")
    path = quote(unquote(parts.path or "/"), safe="/:@!$&'()*+,;=~")
    return scheme, (parts.hostname or "").lower(), port, path


def _refuse(reason: str) -> NoReturn:
    raise InvalidProof(reason)


def token_hash(access_token: str) -> str:
    """`ath`: SHA-256 of the ASCII token, base64url (RFC 9449 §4.2)."""
    return b64url(hashlib.sha256(access_token.encode()).digest())


def dpop_proof(
    key: SigningKey,
    method: str,
    url: str,
    *,
    access_token: str | None = None,
    nonce: str | None = None,
    clock: Callable[[], float] = time.time,
) -> str:
    """A fresh proof for one request; `url`'s query and fragment are left out (RFC 9449 §4.2)."""
    claims: dict[str, object] = {
        "jti": str(uuid4()),
        "htm": method,
        "htu": url.partition("#")[0].partition("?")[0],
        "iat": int(clock()),
    }
    if access_token is not None:
        claims["ath"] = token_hash(access_token)
    if nonce is not None:
        claims["nonce"] = nonce
    return sign_compact(key, {"typ": "dpop+jwt", "jwk": key.public_jwk}, claims)

"""JWTs signed by clients: assertions and request objects.

The registered keys are the only candidates; `jwk`, `jku`, `x5u` of the header
are never looked at, an unknown `kid` finds nothing, `crit` is refused.
"""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from libs.common.access.signatures import Malformed, UnusableKey, split_compact, verifying_key
from libs.common.values.foreign_json import UnreadableJson, read_json

LIMIT = 16 * 1024
MOST_CANDIDATES = 4
OF_FAPI = ("ES256", "EdDSA", "Ed25519", "PS256")
ALGORITHMS = (*OF_FAPI, "RS256")
"""All that some client may sign with. openid.md line 12: `fapi` refuses RS256; `none` and HS* exist nowhere."""

PROFILE_ALGORITHMS: dict[str, tuple[str, ...]] = {
    "fapi": OF_FAPI,
    "standard": ALGORITHMS,
    "compat": ALGORITHMS,
}

SKEW = timedelta(seconds=30)
"""openid.md line 27: 10 s ahead is accepted, more than 60 s refused; we tolerate 30."""


_objects = msgspec.json.Decoder(dict[str, Any])


class NotVerified(Exception):
    """The JWT is malformed, or none of the client's keys made it."""


def unverified_claims(compact: str) -> dict[str, Any]:
    """The claims before any check: only to find which client to load. Raises `NotVerified`."""
    try:
        return read_json(split_compact(compact, limit=LIMIT).payload, _objects)
    except (Malformed, UnreadableJson) as error:
        raise NotVerified from error


def kid_of(compact: str) -> str | None:
    """The key that an unverified JWT names: only to know whether the client's keys must be read anew."""
    try:
        header = read_json(split_compact(compact, limit=LIMIT).header, _objects)
    except (Malformed, UnreadableJson):
        return None
    kid = header.get("kid")
    return kid if isinstance(kid, str) else None


def verify(
    compact: str,
    keys: Sequence[dict[str, Any]],
    algorithms: Collection[str],
    *,
    types: Collection[str | None],
) -> dict[str, Any]:
    """The claims, once a registered key vouches for them. Dates and audience are the caller's to judge.

    `types` are the accepted `typ` headers, in small letters and without `application/`; `None` is its absence
    (RFC 8725 §3.11: what was signed for one purpose serves no other). Raises `NotVerified`.
    """
    try:
        parts = split_compact(compact, limit=LIMIT)
        header = read_json(parts.header, _objects)
        alg = header.get("alg")
        if alg not in algorithms or "crit" in header or _type_of(header) not in types:
            raise NotVerified
        if not any(
            _vouches(key, str(alg), parts.signature, parts.signed) for key in _candidates(keys, header)
        ):
            raise NotVerified
        return read_json(parts.payload, _objects)
    except (Malformed, UnreadableJson) as error:
        raise NotVerified from error


def algorithms_of(profile: str, registered: str | None) -> tuple[str, ...]:
    """What a client of this profile may sign with: one alone, if it registered one for this use."""
    allowed = PROFILE_ALGORITHMS[profile]
    return allowed if registered is None else tuple(alg for alg in allowed if alg == registered)


def check_dates(claims: dict[str, Any], now: datetime, *, longest: timedelta) -> datetime | None:
    """The expiry when `exp`, `nbf` and `iat` hold with our tolerance, else `None`.

    `longest` is how far ahead the expiry may be.
    """
    exp, nbf, iat = claims.get("exp"), claims.get("nbf", 0), claims.get("iat", 0)
    if not all(
        isinstance(moment, int | float) and not isinstance(moment, bool) for moment in (exp, nbf, iat)
    ):
        return None
    try:
        expires_at = datetime.fromtimestamp(float(exp), UTC)  # pyright: ignore[reportArgumentType]
        starts = datetime.fromtimestamp(max(float(nbf), float(iat)), UTC)
    except (OverflowError, OSError, ValueError):
        return None
    if expires_at <= now - SKEW or expires_at > now + longest + SKEW or starts > now + SKEW:
        return None
    return expires_at


def _type_of(header: dict[str, Any]) -> str | None:
    """RFC 7515 §4.1.9: a media type, which says `application/` or leaves it out, in letters of any size."""
    said = header.get("typ")
    return None if said is None else str(said).lower().removeprefix("application/")


def _candidates(keys: Sequence[dict[str, Any]], header: dict[str, Any]) -> Sequence[dict[str, Any]]:
    if "kid" in header:
        return [key for key in keys if key.get("kid") == header["kid"]][:1]
    return keys[:MOST_CANDIDATES]


def _vouches(jwk: dict[str, Any], alg: str, signature: bytes, signed: bytes) -> bool:
    try:
        return verifying_key(jwk, alg).verifies(signature, signed)
    except UnusableKey:
        return False

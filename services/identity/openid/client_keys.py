"""The public keys of a client, as we keep them: known members of usable keys, few and small.

A JWK Set is a stranger's document. Whatever of it is read by nobody here is dropped before it is stored or
remembered: a few kilobytes of arrays in arrays are megabytes once decoded.
"""

from collections.abc import Collection, Iterable
from itertools import islice
from typing import Any

from libs.common.access.signatures import UnusableKey, verifying_key

MOST_KEYS = 20
LOOKED_AT = 100
"""Members of a set that are looked at: to find that two thousand are no keys would hold the process for 40 ms."""

LONGEST_MEMBER = 700
"""Characters: the modulus of RSA at 4096 bits has 683."""

KNOWN_MEMBERS = ("kid", "kty", "crv", "x", "y", "n", "e", "alg", "use")
"""Everything that `verifying_key` and the choice by `kid` look at (RFC 7517 §4, RFC 7518 §6)."""

EVERY_ALGORITHM = ("ES256", "EdDSA", "PS256", "RS256")

Jwk = dict[str, Any]


def verifies_with(key: Jwk, algorithms: Collection[str]) -> bool:
    """Whether a public JWK verifies with one of them."""
    for alg in algorithms:
        try:
            verifying_key(key, alg)
        except UnusableKey:
            continue
        return True
    return False


def kept_keys(found: Iterable[Jwk]) -> tuple[Jwk, ...]:
    """Of a stranger's keys, those that we verify with, their known members alone; the first twenty, of the first
    hundred. One that shows a private member is none.
    """
    kept: list[Jwk] = []
    for key in islice(found, LOOKED_AT):
        if len(kept) == MOST_KEYS:
            break
        known = {name: key[name] for name in KNOWN_MEMBERS if name in key}
        if all(
            isinstance(said, str) and len(said) <= LONGEST_MEMBER for said in known.values()
        ) and verifies_with(key, EVERY_ALGORITHM):
            kept.append(known)
    return tuple(kept)

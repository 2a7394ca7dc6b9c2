"""The matrix of openid.md §8: what a client may be, and how it may ask."""

from typing import Any, NamedTuple

KEYS, SECRET, POSTED, PUBLIC = "private_key_jwt", "client_secret_basic", "client_secret_post", "none"


class Combination(NamedTuple):
    """One client and its way of asking. `nonce`: every DPoP proof must hold one of ours (RFC 9449 §8)."""

    name: str
    profile: str
    method: str
    par: bool = False
    jar: bool = False
    dpop: bool = True
    nonce: bool = False
    algorithm: str = "ES256"
    proof: str = "ES256"
    """What signs the DPoP proofs."""

    def told(self) -> dict[str, Any]:
        return self._asdict()


MATRIX = (
    # Public clients ask in the open; their tokens are bound to a key all the same.
    Combination("standard public, code and DPoP", "standard", PUBLIC),
    Combination("standard public, code and DPoP with nonce", "standard", PUBLIC, nonce=True),
    Combination("standard public, JAR and DPoP", "standard", PUBLIC, jar=True),
    Combination("standard public, PAR and DPoP with nonce", "standard", PUBLIC, par=True, nonce=True),
    Combination("standard public, PAR, JAR and DPoP", "standard", PUBLIC, par=True, jar=True),
    # Confidential ones push.
    Combination("standard, PAR and DPoP", "standard", KEYS, par=True),
    Combination("standard, PAR, JAR and DPoP with nonce", "standard", KEYS, par=True, jar=True, nonce=True),
    Combination("standard, PAR and DPoP, RS256", "standard", KEYS, par=True, algorithm="RS256"),
    Combination("fapi, PAR and DPoP", "fapi", KEYS, par=True),
    Combination("fapi, PAR and DPoP with nonce", "fapi", KEYS, par=True, nonce=True),
    Combination("fapi, PAR, JAR and DPoP", "fapi", KEYS, par=True, jar=True),
    Combination("fapi, PAR, JAR and DPoP with nonce", "fapi", KEYS, par=True, jar=True, nonce=True),
    Combination("fapi, PAR, JAR and DPoP, PS256", "fapi", KEYS, par=True, jar=True, algorithm="PS256"),
    # Both libraries know Ed25519 by its own name only (RFC 9864), not as EdDSA.
    Combination(
        "fapi, PAR, JAR and DPoP, Ed25519",
        "fapi",
        KEYS,
        par=True,
        jar=True,
        algorithm="Ed25519",
        proof="Ed25519",
    ),
    # What the OpenID Connect of 2014 knew, and what it may add.
    Combination("compat, plain code, secret in the header", "compat", SECRET, dpop=False),
    Combination("compat, plain code, secret in the form", "compat", POSTED, dpop=False),
    Combination("compat, plain code, private_key_jwt", "compat", KEYS, dpop=False),
    Combination("compat, PAR", "compat", SECRET, par=True, dpop=False),
    Combination("compat, JAR", "compat", SECRET, jar=True, dpop=False),
    Combination("compat, PAR and JAR", "compat", KEYS, par=True, jar=True, dpop=False),
    Combination("compat, DPoP with nonce", "compat", SECRET, nonce=True),
    Combination("compat, JAR and DPoP with nonce", "compat", KEYS, jar=True, nonce=True),
    Combination("compat, PAR and DPoP", "compat", SECRET, par=True),
    Combination("compat, PAR, JAR and DPoP", "compat", KEYS, par=True, jar=True),
)

MACHINES = (
    Combination("fapi machine, DPoP with nonce", "fapi", KEYS, nonce=True),
    Combination("standard machine, DPoP", "standard", KEYS),
    Combination("compat machine, secret in the header, bearer", "compat", SECRET, dpop=False),
)
"""Clients without anybody: client credentials (RFC 6749 §4.4)."""

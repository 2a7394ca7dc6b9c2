"""`id_token_hint`: an ID token of ours that tells whom, or which session, a client means. It proves nothing else."""

from typing import Any

import msgspec

from libs.common.access.signatures import Malformed, split_compact
from libs.common.values.foreign_json import UnreadableJson, read_json
from services.identity.openid.foreign_jwt import kid_of
from services.identity.openid.issuer import Issuer
from services.identity.signing_keys.key_ring import OWN_JWT_LIMIT

_objects = msgspec.json.Decoder(dict[str, Any])

ONLY_AN_ID_TOKEN_HAS = frozenset({"sub", "aud", "iat", "exp", "at_hash", "sid"})
"""A signed UserInfo is of the same type, and says who somebody is without saying that they signed in."""


def id_token_of(hint: str, issuer: Issuer) -> dict[str, Any] | None:
    """Its claims, expired or not (OpenID Connect Core §3.1.2.1), however long ago its key was retired."""
    claims = issuer.keys.read_own_hint(hint, typ="JWT")
    if claims is None or claims.get("iss") != issuer.url or not (claims.keys() >= ONLY_AN_ID_TOKEN_HAS):
        return None
    return claims


def may_have_been_ours(hint: str, issuer: Issuer) -> bool:
    """Whether it says that we signed it, under a key that we no longer know: nobody can tell any more."""
    kid = kid_of(hint)
    if kid is None or issuer.keys.knows(kid):
        return False
    try:
        claims = read_json(split_compact(hint, limit=OWN_JWT_LIMIT).payload, _objects)
    except (Malformed, UnreadableJson):
        return False
    return claims.get("iss") == issuer.url

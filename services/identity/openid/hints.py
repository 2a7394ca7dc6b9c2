"""`id_token_hint`: an ID token of ours that tells whom, or which session, a client means. It proves nothing else."""

from typing import Any

from services.identity.openid.foreign_jwt import kid_of
from services.identity.openid.issuer import Issuer

ONLY_AN_ID_TOKEN_HAS = frozenset({"sub", "aud", "iat", "exp", "at_hash", "sid"})
"""A signed UserInfo is of the same type, and says who somebody is without saying that they signed in."""


def id_token_of(hint: str, issuer: Issuer) -> dict[str, Any] | None:
    """Its claims, expired or not (OpenID Connect Core §3.1.2.1), however long ago its key was retired."""
    claims = issuer.keys.read_own_hint(hint, typ="JWT")
    if claims is None or claims.get("iss") != issuer.url or not (claims.keys() >= ONLY_AN_ID_TOKEN_HAS):
        return None
    return claims


def may_have_been_ours(hint: str, issuer: Issuer) -> bool:
    """A JWT under a key that we no longer know: nobody can tell any more whether it was ours."""
    kid = kid_of(hint)
    return kid is not None and not issuer.keys.knows(kid)

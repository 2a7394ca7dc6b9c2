"""An access token of ours that somebody hands back: to UserInfo, introspection, revocation, exchange."""

from typing import Any, NamedTuple
from uuid import UUID

from libs.common.access.revocations import Named, dependences
from libs.common.values.identifiers import InvalidPublicId, parse_public_id
from services.identity.openid.issuer import Issuer


class Sought(NamedTuple):
    """What finds the rows of an access token: its grant, its own revocation, the floors that it stands under.

    `exp` is its own claim, in seconds: its revocation is kept where that says.
    """

    grant_id: UUID | None
    jti: str
    exp: int
    floors: list[str]


NO_TOKEN = Sought(None, "", 0, [])
"""What finds nothing."""


def read_access_token(unverified_token: str, issuer: Issuer) -> dict[str, Any] | None:
    """The claims of an access token that this issuer signed; `None` for anything else. Dates are not judged."""
    claims = issuer.keys.read_own_jwt(unverified_token, typ="at+jwt")
    return claims if claims is not None and is_access_token(claims, issuer) else None


def sought(claims: dict[str, Any]) -> Sought:
    """Of an access token of ours."""
    jti: str = claims["jti"]
    return Sought(grant_of_jti(jti), jti, claims["exp"], floors_of(claims))


def is_access_token(claims: dict[str, Any], issuer: Issuer) -> bool:
    """The claims every access token of this issuer has, with the types we write."""
    texts = ("iss", "aud", "sub", "client_id", "jti", "scope")
    return (
        claims.get("iss") == issuer.url
        and all(isinstance(claims.get(name), str) for name in texts)
        and isinstance(claims.get("exp"), int)
        and isinstance(claims.get("iat"), int)
    )


def grant_of_jti(jti: str) -> UUID | None:
    """The grant a person's token came from; `None` for a service's."""
    head, dot, _ = jti.partition(".")
    if not dot:
        return None
    try:
        return parse_public_id("gnt", head)
    except InvalidPublicId:
        return None


def bound_key(claims: dict[str, Any]) -> str | None:
    """The thumbprint of the key a token of ours is bound to (RFC 9449 §6)."""
    confirmation: dict[str, str] = claims.get("cnf") or {}
    return confirmation.get("jkt")


def machine_of(claims: dict[str, Any]) -> str | None:
    """The machine, `mch_…`, that acts in a delegated token of ours; None when a person does."""
    act: dict[str, str] = claims.get("act") or {}
    return act["sub"] if act.get("sub", "").startswith("mch_") else None


def mandate_of(claims: dict[str, Any]) -> tuple[UUID, int] | None:
    """Mandate and version of a delegated token of ours."""
    details: list[dict[str, Any]] = claims.get("authorization_details") or [{}]
    try:
        return parse_public_id("mdt", details[0].get("mandate", "")), int(details[0]["ver"])
    except (InvalidPublicId, KeyError, TypeError, ValueError):
        return None


def floors_of(claims: dict[str, Any]) -> list[str]:
    """The rows of `revocation_floor` that an access token of ours stands under: by the services' own rule.

    A mandate's floor is its version, which its own row holds.
    """
    act: dict[str, str] = claims.get("act") or {}
    details: list[dict[str, Any]] = claims.get("authorization_details") or [{}]
    acting = (act.get("sub"), act.get("sponsor")) if act else (claims["sub"],)
    named = Named(
        claims["caisse"],
        claims["client_id"],
        tuple(actor for actor in acting if actor is not None),
        claims.get("sid"),
        cabinet=act.get("org"),
        group=details[0].get("group"),
    )
    return ["/".join(floor) for floor in dependences(named)]

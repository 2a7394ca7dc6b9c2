"""What is said of a person in ID tokens and UserInfo, by scope or one by one (OpenID Connect Core §5)."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from services.identity.openid.clients import Client
from services.identity.openid.snapshot import Grant, Subject

_CLAIMS_OF_SCOPE = {
    "profile": ("name", "locale"),
    "email": ("email", "email_verified"),
    "address": ("address",),
    "phone": (),
}
SUPPORTED_CLAIMS = (
    "sub", "name", "locale", "email", "email_verified", "address",
    "auth_time", "acr", "amr", "sid", "nonce", "at_hash",
)  # fmt: skip


SCOPE_OF_CLAIM = {name: scope for scope, names in _CLAIMS_OF_SCOPE.items() for name in names}
"""What each claim about a person belongs to: asked one by one, it wants the same right as asked by scope."""


def person_claims(subject: Subject) -> dict[str, Any]:
    """Every claim we know of a person. The e-mail was proven by a mailed secret before the account opened."""
    known: dict[str, Any] = {
        "name": subject.full_name or None,
        "locale": subject.locale,
        "email": subject.email,
        "email_verified": True,
    }
    if subject.address:
        known["address"] = {"formatted": "\n".join(subject.address)}
    return {name: value for name, value in known.items() if value is not None}


def scopes_of_claims(asked: Mapping[str, Mapping[str, Any]]) -> frozenset[str]:
    """The scopes that the claims asked one by one belong to (OpenID Connect Core §5.5, §5.4)."""
    return frozenset(
        SCOPE_OF_CLAIM[name] for wanted in asked.values() for name in wanted if name in SCOPE_OF_CLAIM
    )


def claims_within(
    asked: Mapping[str, Mapping[str, Any]], allowed: Collection[str]
) -> dict[str, dict[str, Any]]:
    """By place, what is left of the claims asked one by one once each needs its scope."""
    return {
        place: {name: how for name, how in wanted.items() if SCOPE_OF_CLAIM.get(name, "openid") in allowed}
        for place, wanted in asked.items()
    }


def scope_claims(scopes: Iterable[str], subject: Subject) -> dict[str, Any]:
    """OpenID Connect Core §5.4."""
    wanted = {name for scope in scopes for name in _CLAIMS_OF_SCOPE.get(scope, ())}
    return {name: value for name, value in person_claims(subject).items() if name in wanted}


def granted_claims(place: str, grant: Grant, client: Client) -> dict[str, Any]:
    """OpenID Connect Core §5.5: the claims asked one by one, as far as we know them.

    Each needs its scope in the client's ceiling of this moment, as when it was granted.
    """
    wanted = claims_within(grant.granted.claims, client.scopes).get(place, {})
    return {name: value for name, value in person_claims(grant.subject).items() if name in wanted}

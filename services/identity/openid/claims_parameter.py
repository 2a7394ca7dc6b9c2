"""The `claims` parameter: claims asked one by one, levels demanded, one person meant (OpenID Connect Core §5.5)."""

from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from libs.common.values.foreign_json import UnreadableJson, read_json
from services.identity.openid.clients import Client
from services.identity.openid.person_claims import SUPPORTED_CLAIMS, claims_within
from services.identity.openid.refusals import InvalidRequest
from services.identity.openid.wire import Parameters
from services.identity.sign_in.session import ACR_RANK


class AskedAcr(Struct, frozen=True):
    """`{"essential": true, "values": ["mfa"]}` (OpenID Connect Core §5.5.1.1)."""

    essential: bool = False
    value: str | UnsetType = UNSET
    values: tuple[str, ...] = ()

    @property
    def levels(self) -> tuple[str, ...]:
        return self.values if self.value is UNSET else (*self.values, self.value)

    @property
    def known(self) -> tuple[str, ...]:
        return tuple(level for level in self.levels if level in ACR_RANK)


class AskedSubject(Struct, frozen=True):
    """`{"value": "per_…"}` (OpenID Connect Core §3.1.2.2, §5.5.1)."""

    value: str | UnsetType = UNSET
    values: tuple[str, ...] = ()


class AskedClaims(Struct, frozen=True):
    """The `claims` parameter, by place (OpenID Connect Core §5.5); other places are left out."""

    id_token: dict[str, Any] | None = None
    userinfo: dict[str, Any] | None = None


_asked_claims = msgspec.json.Decoder(AskedClaims)


def read_claims(parameters: Parameters) -> AskedClaims:
    """Raises `InvalidRequest`."""
    try:
        return read_json(parameters.get("claims") or "{}", _asked_claims)
    except UnreadableJson as error:
        raise InvalidRequest("The claims parameter is not a JSON object of objects.") from error


def asked_acr(asked: AskedClaims) -> AskedAcr | None:
    """Raises `InvalidRequest`."""
    try:
        return msgspec.convert((asked.id_token or {}).get("acr"), AskedAcr | None)
    except msgspec.ValidationError as error:
        raise InvalidRequest("The acr of the claims parameter is not a request for levels.") from error


def asked_subject(asked: AskedClaims) -> str | None:
    """The one person the ID token may be about. Raises `InvalidRequest`."""
    try:
        wanted = msgspec.convert((asked.id_token or {}).get("sub"), AskedSubject | None) or AskedSubject()
    except msgspec.ValidationError as error:
        raise InvalidRequest("The sub of the claims parameter is not a request for a person.") from error
    named = {*wanted.values, *(() if wanted.value is UNSET else (wanted.value,))}
    if len(named) > 1:
        raise InvalidRequest("The claims parameter names several persons.")
    return next(iter(named), None)


def kept_claims(asked: AskedClaims, client: Client) -> dict[str, dict[str, Any]]:
    """By place, the names that mean something here, within the client's ceiling: all that is ever read of them."""
    places = {"id_token": asked.id_token, "userinfo": asked.userinfo}
    known = {
        place: {name: None for name in wanted if name in SUPPORTED_CLAIMS}
        for place, wanted in places.items()
        if wanted
    }
    return claims_within(known, client.scopes)

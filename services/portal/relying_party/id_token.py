"""What identity says of the person: the ID token and the logout token, verified.

Specification: OpenID Connect Core §3.1.3.7, Back-Channel Logout §2.6.
"""

from datetime import datetime
from typing import Any, Final, NoReturn

import msgspec
from msgspec import Struct

from libs.common.access.issuer_keys import IssuerKeys
from libs.common.access.signatures import Malformed, split_compact
from libs.common.refusals import DomainError
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.foreign_json import UnreadableJson, read_json

LIMIT: Final = 8192
SKEW: Final = 30
LOGOUT_EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"

_objects = msgspec.json.Decoder(dict[str, Any])


class InvalidIdToken(DomainError):
    """The token is not identity's word to us, now, for this request. The message is for the log."""


class IdToken(Struct, frozen=True):
    """Who signed in, how and when; `adherent` is the firm chosen, if any."""

    iss: str
    sub: str
    aud: str | list[str]
    exp: int
    iat: int
    nonce: str | None = None
    azp: str | None = None
    sid: str = ""
    acr: str | None = None
    name: str = ""
    email: str = ""
    adherent: str | None = None


class LogoutToken(Struct, frozen=True):
    """A session, or every session of a person, is over."""

    iss: str
    aud: str | list[str]
    iat: int
    exp: int
    jti: str
    events: dict[str, Any]
    sub: str | None = None
    sid: str | None = None
    nonce: str | None = None


async def verify_id_token(
    keys: IssuerKeys, text: str, *, caisse: CaisseSlug, issuer: str, client_id: str, nonce: str, now: datetime
) -> IdToken:
    """The ID token of a code that we redeemed. Raises `InvalidIdToken`."""
    token = msgspec.convert(await _signed(keys, text, caisse, typ=("jwt", "")), IdToken)
    _check_parties(token.iss, token.aud, issuer, client_id)
    if isinstance(token.aud, list) and len(token.aud) > 1 and token.azp != client_id:
        _refuse("azp")
    if token.nonce != nonce:
        _refuse("nonce")
    _check_times(token.iat, token.exp, now)
    return token


async def verify_logout_token(
    keys: IssuerKeys, text: str, *, caisse: CaisseSlug, issuer: str, client_id: str, now: datetime
) -> LogoutToken:
    """A logout token addressed to us. Raises `InvalidIdToken`."""
    claims = await _signed(keys, text, caisse, typ=("logout+jwt",))
    token = msgspec.convert(claims, LogoutToken)
    _check_parties(token.iss, token.aud, issuer, client_id)
    # §2.6: an ID token must never pass for a logout token, nor the reverse.
    if "nonce" in claims:
        _refuse("nonce present")
    if LOGOUT_EVENT not in token.events:
        _refuse("events")
    if not token.sub and not token.sid:
        _refuse("names nobody")
    _check_times(token.iat, token.exp, now)
    return token


async def _signed(keys: IssuerKeys, text: str, caisse: CaisseSlug, *, typ: tuple[str, ...]) -> dict[str, Any]:
    """The claims, once the issuer's key has signed them; the algorithm is the key's."""
    try:
        parts = split_compact(text, limit=LIMIT)
        header = read_json(parts.header, _objects)
        kind = str(header.get("typ", "")).lower().removeprefix("application/")
        if kind not in typ or "crit" in header:
            _refuse("typ")
        key = await keys.find(caisse, str(header.get("kid", "")))
        if key is None or header.get("alg") != key.alg or not key.verifies(parts.signature, parts.signed):
            _refuse("signature")
        return read_json(parts.payload, _objects)
    except (Malformed, UnreadableJson) as error:
        raise InvalidIdToken("malformed") from error


def _check_parties(iss: str, aud: str | list[str], issuer: str, client_id: str) -> None:
    if iss != issuer:
        _refuse("iss")
    if client_id not in ([aud] if isinstance(aud, str) else aud):
        _refuse("aud")


def _check_times(iat: int, exp: int, now: datetime) -> None:
    instant = now.timestamp()
    if exp + SKEW <= instant or iat > instant + SKEW:
        _refuse("times")


def _refuse(reason: str) -> NoReturn:
    raise InvalidIdToken(reason)

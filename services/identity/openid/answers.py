"""What a decision comes to: an answer, and the effects that must be written for it to be true."""

from collections.abc import Sequence
from typing import Any

from authlib.oauth2.rfc6749.errors import OAuth2Error
from msgspec import Struct

from services.identity.openid.effects import Effect
from services.identity.openid.refusals import SlowDown, UseDpopNonce
from services.identity.openid.snapshot import Snapshot


class Answer(Struct, frozen=True):
    """What the caller gets: a JSON body (or text, when `media_type` says so)."""

    status: int
    body: dict[str, Any] | str
    headers: dict[str, str] = {}
    media_type: str = "application/json"


class Decision(Struct, frozen=True):
    """The answer, and the effects that must be written for it to be true. Failures have effects too."""

    answer: Answer
    effects: Sequence[Effect] = ()


def refusal_answer(error: OAuth2Error, snapshot: Snapshot | None = None) -> Answer:
    """RFC 6749 §5.2, with the nonce when one is wanted (RFC 9449 §8)."""
    headers = {"Cache-Control": "no-store", "Pragma": "no-cache"}
    if error.status_code == 401:
        headers["WWW-Authenticate"] = f'Basic realm="{snapshot.issuer.caisse}"' if snapshot else "Basic"
    if isinstance(error, UseDpopNonce) and snapshot is not None:
        headers["DPoP-Nonce"] = snapshot.nonces.current(snapshot.now)
    body = {"error": error.error, "error_description": error.get_error_description()}
    if isinstance(error, SlowDown):
        headers["Retry-After"] = "1"
    return Answer(error.status_code, {name: value for name, value in body.items() if value}, headers)

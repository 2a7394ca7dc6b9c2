"""What a service's 401 asks for: another token, a stronger sign-in, or nothing that a person could bring."""

import re
from typing import Final

from libs.common.refusals import DomainError
from services.portal.refusals import ServiceDown, StepUpWanted

ABOUT_THE_TOKEN: Final = frozenset({"", "invalid_token"})
"""RFC 6750 §3.1. Without a word, it is the token too."""

_parameter = re.compile(r'([a-z_]+)="([^"]*)"')

ACR_VALUES: Final = re.compile(r"[A-Za-z0-9_.:/-]{1,60}( [A-Za-z0-9_.:/-]{1,60}){0,9}")
MAX_AGE: Final = re.compile("[0-9]{1,8}")
ASKS: Final = {"acr_values": ACR_VALUES, "max_age": MAX_AGE}
"""What a challenge may ask of the authorization request (RFC 9470 §4), as a service or an address writes it."""


def refusal_of(challenge: str, service: str) -> DomainError | None:
    """Why a call was refused, from its `WWW-Authenticate`; `None` when another token may do."""
    said = dict(_parameter.findall(challenge))
    error = said.get("error", "")
    if error == "insufficient_user_authentication":
        return StepUpWanted(wanted(said))
    return None if error in ABOUT_THE_TOKEN else ServiceDown(service)


def wanted(said: dict[str, str]) -> dict[str, str]:
    """The well-formed of `ASKS`."""
    return {name: said[name] for name, form in ASKS.items() if form.fullmatch(said.get(name, ""))}

"""Strict parsing: what enters the kernel is small, decoded once and said once.

A library that tolerates a doubled parameter picks one, and another component
picks the other. Everything after this module sees each parameter at most once.
"""

import re
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl

from msgspec import Struct, json

from services.identity.openid.refusals import InvalidRequest

LARGEST_FORM = 48 * 1024
MOST_PARAMETERS = 64
FORM = "application/x-www-form-urlencoded"

# RFC 6749 appendix A: visible ASCII. People's own words are elsewhere.
_VISIBLE = re.compile(r"[\x20-\x7e]*")
# Error descriptions quote names: RFC 6749 §5.2 bars the quote and the backslash there.
_NAME = re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]{0,64}")
_FREE_TEXT = frozenset({"login_hint", "claims", "ui_locales", "claims_locales", "authorization_details"})
# Values that they quote too.
_QUOTED = frozenset({"client_id", "redirect_uri", "response_type", "grant_type", "scope", "response_mode"})
_NO_QUOTE = re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]*")


class Parameters(Struct, frozen=True):
    """The parameters of one request. `resource` alone may be repeated (RFC 8707 §2)."""

    values: dict[str, str] = {}
    resources: tuple[str, ...] = ()

    def get(self, name: str) -> str | None:
        return self.values.get(name)

    def need(self, name: str) -> str:
        """The value, or `invalid_request`."""
        value = self.values.get(name)
        if value is None:
            raise InvalidRequest(f"The parameter {name} is missing.")
        return value


def is_form(content_type: str) -> bool:
    """Whether this Content-Type is a form's: its case and parameters say nothing (RFC 9110 §8.3.1)."""
    return content_type.split(";", 1)[0].strip().lower() == FORM


def parse_form(content_type: str, body: bytes) -> Parameters:
    """A posted form (RFC 6749 §3.2: parameters are not repeated).

    Raises `InvalidRequest`.
    """
    if not is_form(content_type):
        raise InvalidRequest(f"The body must be {FORM}.")
    return parse_encoded(body)


def parse_encoded(encoded: bytes) -> Parameters:
    """A query string or a form body. Raises `InvalidRequest`."""
    if len(encoded) > LARGEST_FORM:
        raise InvalidRequest("The request is too large.")
    try:
        pairs = parse_qsl(
            encoded.decode("ascii"),
            keep_blank_values=True,
            encoding="utf-8",
            errors="strict",
            max_num_fields=MOST_PARAMETERS,
        )
    except ValueError as error:
        raise InvalidRequest("The request is not well-formed.") from error
    return parameters_of(pairs)


def parameters_of(pairs: Iterable[tuple[str, str]]) -> Parameters:
    """Each name once, in visible ASCII; a parameter without a value is left out (RFC 6749 §3.1)."""
    values: dict[str, str] = {}
    resources: list[str] = []
    for name, value in pairs:
        if not _NAME.fullmatch(name):
            raise InvalidRequest("A parameter's name is too long, or not plain ASCII.")
        if name == "resource":
            resources.append(value)
        elif name in values:
            raise InvalidRequest(f"The parameter {name} is given more than once.")
        else:
            _check_characters(name, value)
            values[name] = value
    return Parameters(
        {name: value for name, value in values.items() if value}, tuple(filter(None, resources))
    )


def _check_characters(name: str, value: str) -> None:
    if name in _FREE_TEXT:
        if any(ord(character) < 0x20 for character in value):
            raise InvalidRequest(f"The parameter {name} holds a control character.")
    elif not (_NO_QUOTE if name in _QUOTED else _VISIBLE).fullmatch(value):
        raise InvalidRequest(f"The parameter {name} holds a character outside visible ASCII.")


def parameters_of_claims(claims: Mapping[str, object]) -> Parameters:
    """The parameters inside a request object (RFC 9101 §4).

    Numbers and objects become their JSON text; a null is a parameter without a value, left out.
    """
    pairs: list[tuple[str, str]] = []
    for name, value in claims.items():
        if value is None or name in {"iss", "aud", "exp", "nbf", "iat", "jti"}:
            continue
        if name == "resource" and isinstance(value, list):
            pairs += [("resource", str(item)) for item in value]  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        else:
            pairs.append((name, value if isinstance(value, str) else json.encode(value).decode()))
    return parameters_of(pairs)

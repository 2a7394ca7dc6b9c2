"""JSON that a stranger wrote: read whole, or refused in one way."""

import re
from typing import TypeVar

import msgspec

Read = TypeVar("Read")

MOST_NESTED = 32
"""Arrays and objects one in another. The interpreter's own bound moves with whoever calls; this one does not."""

_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
"""U+0000 as JSON spells it; after another backslash it is a backslash and five letters."""
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL)
"""One that never ends runs to the end: looked for anew at each quote, it would cost the square of its length."""

_AS_NESTS = bytes.maketrans(b"[{]}", b"(())")
_OTHER_SIGNS = bytes(set(range(256)) - set(b"[]{}"))


class UnreadableJson(ValueError):
    """Bytes that are no UTF-8, another shape, nested too deep, or U+0000, which PostgreSQL never keeps."""


def read_json(given: bytes | str, decoder: msgspec.json.Decoder[Read]) -> Read:
    """What `decoder` awaits. Raises `UnreadableJson`, and nothing else (RFC 8259 §8.1, §9)."""
    try:
        raw = given.encode() if isinstance(given, str) else given
        if _holds_nul(raw) or _is_too_deep(raw):
            raise UnreadableJson("U+0000, or nested too deep")
        return decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise UnreadableJson(type(error).__name__) from error


def _holds_nul(raw: bytes) -> bool:
    return b"\\u0000" in raw and _NUL.search(raw) is not None


def _is_too_deep(raw: bytes) -> bool:
    if raw.count(b"{") + raw.count(b"[") <= MOST_NESTED:
        return False
    nests = _STRING.sub(b"", raw).translate(_AS_NESTS, _OTHER_SIGNS)
    for _ in range(MOST_NESTED):
        # What holds nothing goes, one level of all at once: counted sign by sign, forty kilobytes took milliseconds.
        nests = nests.replace(b"()", b"")
    return nests != b""

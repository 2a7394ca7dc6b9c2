"""Our own keys: UUIDv7 in rows, `adh_01J…` in addresses and tokens."""

import re
import secrets
import threading
import time
from uuid import UUID

from libs.common.values.crockford import ALPHABET
from libs.common.values.invalid import InvalidValue
from libs.common.values.sentence import Sentence

_WRITTEN = re.compile(f"[0-7][{ALPHABET}]{{25}}")
_TO_BASE_32 = str.maketrans(ALPHABET, "0123456789abcdefghijklmnopqrstuv")
_PAIRS = tuple(first + second for first in ALPHABET for second in ALPHABET)
_SHIFTS = tuple(range(120, -1, -10))
# Every token names a handful of ids, so both ways go by pairs or by C: 1 µs where a symbol at a time takes 5.
_lock = threading.Lock()
_last_tick = 0


class InvalidPublicId(InvalidValue):
    reason = Sentence("Cet identifiant n'est pas valable.")


def new_id() -> UUID:
    """UUIDv7 (RFC 9562 §5.7) that grows with each call of this process.

    48 bits of milliseconds, 12 bits of fraction of a millisecond (§6.2, method 3), then
    62 random bits. A clock set back never yields a smaller one: the tick is bumped.
    """
    global _last_tick
    milliseconds, remainder = divmod(time.time_ns(), 1_000_000)
    tick = milliseconds << 12 | (remainder << 12) // 1_000_000
    with _lock:
        tick = _last_tick = max(tick, _last_tick + 1)
    return UUID(int=(tick >> 12) << 80 | 7 << 76 | (tick & 0xFFF) << 64 | 2 << 62 | secrets.randbits(62))


def public_id(prefix: str, key: UUID) -> str:
    """`public_id("adh", key)` → `adh_` and 26 Crockford symbols, which sort like the key."""
    number = key.int
    return f"{prefix}_" + "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])


def parse_public_id(prefix: str, text: str) -> UUID:
    """The key behind a public identifier; one spelling only, as it is compared in tokens.

    Raises `InvalidPublicId` on another prefix, lower case, or a value beyond 128 bits.
    """
    head, _, symbols = text.partition("_")
    if head != prefix or not _WRITTEN.fullmatch(symbols):
        raise InvalidPublicId
    return UUID(int=int(symbols.translate(_TO_BASE_32), 32))

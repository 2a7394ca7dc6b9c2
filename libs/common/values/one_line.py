"""A name that somebody else chose, and that a person reads before they decide."""

import unicodedata

from libs.common.values.seen import is_seen

_OTHER_LINES = frozenset({"Zl", "Zp"})


def is_one_line(name: str, *, longest: int) -> bool:
    """One to `longest` characters, each of them seen, with no blank at either end."""
    return (
        0 < len(name) <= longest
        and name == name.strip()
        and all(is_seen(letter) and unicodedata.category(letter) not in _OTHER_LINES for letter in name)
    )

"""A name that somebody else chose, and that a person reads before they decide."""

import unicodedata

_DECEIVING = frozenset({"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"})
"""Controls, marks that reorder or that nobody sees, and other lines: they make two names look like one."""


def is_one_line(name: str, *, longest: int) -> bool:
    """One to `longest` characters, each of them seen, with no blank at either end."""
    return (
        0 < len(name) <= longest
        and name == name.strip()
        and not any(unicodedata.category(letter) in _DECEIVING for letter in name)
    )

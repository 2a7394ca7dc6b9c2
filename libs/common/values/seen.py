"""Whether a reader sees a character at all: two names that differ by one that nobody sees look like one."""

import re
import unicodedata

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Cn", "Co"})
"""Categories: controls, marks that reorder what follows or that nobody sees, and what Unicode has given no meaning."""

_IGNORABLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]"
)
"""Letters and marks by their category, shown as nothing (Unicode's Default_Ignorable_Code_Point): a joiner, fillers,
vowels that are not written, selectors of a variant. And the pattern of no dot.
"""


def is_seen(letter: str) -> bool:
    """A blank counts as seen."""
    return unicodedata.category(letter) not in _UNSEEN and not _IGNORABLE.match(letter)

"""French spaces, set once for every page: sources hold plain spaces, people read the right ones.

As CLDR has them: U+202F before `; ! ?` and between thousands, U+00A0 before `:`, `%`, `€` and inside « ».
"""

import re
from gettext import NullTranslations
from typing import Final

THIN: Final = "\u202f"
NBSP: Final = "\u00a0"

_RULES: Final = (
    (re.compile(r"[ \u00a0\u202f]+([;!?])"), THIN + r"\1"),
    # A percent sign that opens `%(name)s` announces a value, which may begin a line.
    (re.compile(r"[ \u00a0\u202f]+([:»€]|%(?!\())"), NBSP + r"\1"),
    (re.compile(r"«[ \u00a0\u202f]*"), "«" + NBSP),
    (re.compile(r"\bn° "), "n°" + NBSP),
    (re.compile(r"(?<=\w)'(?=\w)"), "’"),
)


def set_french(text: str) -> str:
    """A French sentence with its unbreakable spaces and its apostrophes. Running it twice changes nothing."""
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


class FrenchTranslations(NullTranslations):
    """The French of the templates, as typeset French."""

    def gettext(self, message: str) -> str:
        return set_french(message)

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        # In French zero is singular (CLDR plural rules).
        return set_french(msgid1 if n < 2 else msgid2)

"""A sentence that a page will say, in whichever language its reader speaks."""

from collections.abc import Callable
from typing import Any


class Sentence(str):
    """A French sentence, whole, that remembers what it was made of: its catalogue entry and its values.

    Wherever a string serves (a log, an import's verdict, a JSON answer) it is the French; a page says it from
    `pattern` and `values` in its reader's language (`said`). Python's own `%(name)s` marks the values, and a
    pattern without values is taken as it stands. A sentence among the values is translated too, and goes on in
    lower case: `Identifiant : il manque des caractères…`.

    The pattern is written where it is made, as a literal: `tests/structure/test_french.py` finds each one and
    asks for its English.
    """

    pattern: str
    values: dict[str, Any]

    def __new__(cls, pattern: str, /, **values: Any) -> "Sentence":
        made = super().__new__(cls, _filled(pattern, values, str))
        made.pattern, made.values = pattern, values
        return made


def said(sentence: str, gettext: Callable[[str], str]) -> str:
    """The sentence by that catalogue; a plain string is looked up as it is."""
    if not isinstance(sentence, Sentence):
        return gettext(sentence)
    return _filled(gettext(sentence.pattern), sentence.values, lambda inner: said(inner, gettext))


def _filled(pattern: str, values: dict[str, Any], tell: Callable[["Sentence"], str]) -> str:
    if not values:
        return pattern
    return pattern % {
        name: _lowered(tell(value)) if isinstance(value, Sentence) else value
        for name, value in values.items()
    }


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]

"""A caisse's name in issuers, paths and NATS subjects: `mediterranee`."""

import re
from typing import NewType

from libs.common.values.invalid import InvalidValue
from libs.common.values.sentence import Sentence

CaisseSlug = NewType("CaisseSlug", str)
"""A checked tenant key; `parse_caisse_slug` is the only door."""

# No dot, star or `>`: the slug is one token of a NATS subject, and one label of a path.
_SLUG = re.compile("[a-z](?:[a-z0-9]|-(?!-)){0,38}[a-z0-9]")
# First segments of our own addresses and subjects: a caisse of that name would hide them.
RESERVED = frozenset(
    {
        "api",
        "admin",
        "assets",
        "authz",
        "health",
        "letters",
        "messages",
        "metrics",
        "sign-in",
        "sign-out",
        "static",
    }
)


class InvalidCaisseSlug(InvalidValue):
    reason = Sentence(
        "Ce nom de caisse n'est pas valable : 2 à 40 lettres minuscules sans accent, chiffres ou tirets,"
        " en commençant par une lettre (par exemple grand-ouest)."
    )


def parse_caisse_slug(text: str) -> CaisseSlug:
    """Strict: no capitals, no accents, no trimming, for it is read from addresses and tokens."""
    if not _SLUG.fullmatch(text) or text in RESERVED:
        raise InvalidCaisseSlug
    return CaisseSlug(text)

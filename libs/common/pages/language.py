"""Which of our two languages a person reads, and its catalogue.

The msgids are the French sentences themselves; English lives in `catalogues/en.po` beside the templates.
"""

import io
from collections.abc import Iterable
from gettext import GNUTranslations, NullTranslations
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from libs.common.pages.formats import Language
from libs.common.pages.typography import FrenchTranslations

LANGUAGES: tuple[Language, ...] = ("fr", "en")


def choose_language(ui_locales: str | None, accept_language: str | None) -> Language:
    """The first of `ui_locales` (OpenID Connect Core §3.1.2.1), then of Accept-Language, that we speak; else French."""
    wanted = (ui_locales or "").split() + _by_preference(accept_language or "")
    for tag in wanted:
        primary = tag.split("-")[0].lower()
        for language in LANGUAGES:
            if primary == language:
                return language
    return "fr"


def _by_preference(header: str) -> list[str]:
    """Accept-Language tags, best first (RFC 9110 §12.5.4); a malformed quality counts as none."""
    weighed: list[tuple[float, str]] = []
    for item in header[:200].split(","):
        tag, _, parameters = item.strip().partition(";")
        quality = parameters.strip().removeprefix("q=")
        try:
            weight = float(quality) if quality else 1.0
        except ValueError:
            weight = 0.0
        if tag and weight > 0:
            weighed.append((weight, tag))
    return [tag for _, tag in sorted(weighed, key=lambda pair: -pair[0])]


def read_catalogues(folders: Iterable[Path]) -> dict[Language, NullTranslations]:
    """French as it stands in the templates, English from every `catalogues/en.po` of the folders."""
    merged = Catalog(locale="en")
    for folder in folders:
        file = folder / "en.po"
        if not file.exists():
            continue
        with file.open("rb") as lines:
            for message in read_po(lines, locale="en"):
                if message.id and message.string:
                    merged.add(message.id, message.string)
    compiled = io.BytesIO()
    write_mo(compiled, merged)
    compiled.seek(0)
    return {"fr": FrenchTranslations(), "en": GNUTranslations(compiled)}

"""How values are shown: French typography and Europe/Paris, at the edge only.

Every function takes what the services hold (cents, UTC instants, bare digits) or its JSON form, and gives text
with the spaces French asks for: U+202F between thousands, U+00A0 before € and inside numbers read in groups.
"""

import re
from collections.abc import Callable
from datetime import date, datetime
from functools import partial
from typing import Literal
from zoneinfo import ZoneInfo

from markupsafe import Markup, escape

from libs.common.pages.typography import NBSP, THIN, set_french

Language = Literal["fr", "en"]

PARIS = ZoneInfo("Europe/Paris")

MONTHS: dict[Language, tuple[str, ...]] = {
    "fr": (
        "janvier", "février", "mars", "avril", "mai", "juin",
        "juillet", "août", "septembre", "octobre", "novembre", "décembre",
    ),
    "en": (
        "January", "February", "March", "April", "May", "June",
        "July", "August", "September", "October", "November", "December",
    ),
}  # fmt: skip


def siren(digits: str) -> str:
    """`123456782` as `123 456 782`, unbreakable."""
    return NBSP.join((digits[:3], digits[3:6], digits[6:9]))


def siret(digits: str) -> str:
    """`12345678200010` as `123 456 782 00010`, unbreakable."""
    return NBSP.join((digits[:3], digits[3:6], digits[6:9], digits[9:]))


def phone(number: str) -> str:
    """A telephone number as its caisse writes it, unbreakable."""
    return NBSP.join(number.split())


def email(address: str) -> Markup:
    """An address that a narrow screen cuts after its @ or before a dot, never in a word."""
    name, at, domain = address.partition("@")
    cut = Markup("<wbr>")
    return escape(name) + (at and Markup("@") + cut) + (cut + ".").join(map(escape, domain.split(".")))


def iban_masked(iban: str) -> str:
    """Country, key and last three characters only: enough to recognise, not enough to use."""
    bare = "".join(iban.split())
    return f"{bare[:4]}{NBSP}••••{NBSP}{bare[-3:]}"


def groups(code: str, size: int = 4) -> str:
    """A code in groups of `size`, as printed in the letters."""
    bare = "".join(code.split())
    return NBSP.join(bare[at : at + size] for at in range(0, len(bare), size))


def euros(cents: int, language: Language = "fr") -> str:
    """Integer cents as `1 234,56 €` (English: `€1,234.56`)."""
    sign = "−" if cents < 0 else ""
    whole, rest = divmod(abs(cents), 100)
    if language == "en":
        return f"{sign}€{whole:,}.{rest:02}"
    return f"{sign}{whole:,}".replace(",", THIN) + f",{rest:02}{NBSP}€"


def day(value: date | datetime | str, language: Language = "fr") -> str:
    """`7 janvier 2021`; an instant is first placed in Europe/Paris."""
    read = _read(value)
    if isinstance(read, datetime):
        read = read.astimezone(PARIS).date()
    number = "1er" if language == "fr" and read.day == 1 else str(read.day)
    return f"{number}{NBSP}{MONTHS[language][read.month - 1]} {read.year}"


def instant(value: datetime | str, language: Language = "fr") -> str:
    """`7 janvier 2021 à 9 h` or `… à 9 h 05`, in Europe/Paris."""
    read = _read(value)
    if not isinstance(read, datetime):
        return day(read, language)
    local = read.astimezone(PARIS)
    if language == "en":
        return f"{day(local, language)} at {local:%H:%M}"
    minutes = f"{NBSP}{local.minute:02}" if local.minute else ""
    return f"{day(local, language)} à{NBSP}{local.hour}{NBSP}h{minutes}"


def month(value: date | datetime | str, language: Language = "fr") -> str:
    """The month a period names: `mars 2026`, from a date or `2026-03`."""
    text = value if isinstance(value, str) else value.isoformat()
    year, number = text[:4], int(text[5:7])
    return f"{MONTHS[language][number - 1]} {year}"


def period(value: str, language: Language = "fr") -> str:
    """A period of the caisse's accounts: `2026-03` as `mars 2026`, `2026-T4` as `4e trimestre 2026`, `2026`."""
    year, _, part = value.partition("-")
    if re.fullmatch("[0-9]{4}", year) is None or not part:
        return value
    if re.fullmatch("T[1-4]", part):
        if language == "en":
            return f"Q{part[1]} {year}"
        return f"{'1er' if part == 'T1' else part[1] + 'e'} trimestre {year}"
    return month(value, language) if re.fullmatch("0[1-9]|1[0-2]", part) else value


def _read(value: date | datetime | str) -> date | datetime:
    if not isinstance(value, str):
        return value
    return date.fromisoformat(value) if len(value) == 10 else datetime.fromisoformat(value)


def filters(language: Language) -> dict[str, Callable[..., str]]:
    """The Jinja filters of one language; their names stay French, as the field's words do."""
    return {
        "siret": siret,
        "siren": siren,
        "phone": phone,
        "email": email,
        "iban_masked": iban_masked,
        "code_groups": groups,
        "date_fr": partial(day, language=language),
        "datetime_fr": partial(instant, language=language),
        "month_fr": partial(month, language=language),
        "period_fr": partial(period, language=language),
        "euros": partial(euros, language=language),
        "typo": set_french if language == "fr" else str,
    }

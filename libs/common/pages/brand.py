"""How a caisse looks: its name, colour and contacts, checked for contrast.

A theme is one colour. Everything else follows from it, so that no caisse can choose an unreadable pair:
white on the colour, and the colour on white, must reach 7:1 (WCAG 1.4.6).
"""

import re
from typing import Any

import msgspec

DEFAULT_COLOUR = "0b4a6f"

LEAST_CONTRAST = 7.0
"""WCAG 2.2 §1.4.6 (AAA): buttons and links must be read in the sun of a building site."""


class ColourNotReadable(ValueError):
    """Not six hexadecimal digits, or too pale for white text."""


class Brand(msgspec.Struct, frozen=True, kw_only=True):
    """What the layout shows of a caisse. `colour` is six hexadecimal digits without `#`."""

    slug: str
    name: str
    colour: str = DEFAULT_COLOUR
    phone: str = ""
    email: str = ""
    website: str = ""


def brand_of(caisse: Any) -> Brand:
    """The brand of any caisse record that has `slug`, `name`, and perhaps contacts and a colour.

    The colour was checked when it was saved; one that is missing or no longer readable gives the default, so that
    a theme can never take the pages down.
    """
    settings: Any = getattr(caisse, "settings", None)
    colour = getattr(caisse, "colour", "") or getattr(settings, "colour", "")
    return Brand(
        slug=str(caisse.slug),
        name=str(caisse.name),
        colour=readable_colour(str(colour)),
        phone=str(getattr(caisse, "phone", "") or ""),
        email=str(getattr(caisse, "email", "") or ""),
        website=str(getattr(caisse, "website", "") or ""),
    )


def readable_colour(colour: str) -> str:
    """The colour if white can be read on it, else the default."""
    try:
        return parse_colour(colour)
    except ColourNotReadable:
        return DEFAULT_COLOUR


def parse_colour(typed: str) -> str:
    """Six lower-case hexadecimal digits that white can be read on. Raises `ColourNotReadable`."""
    digits = typed.removeprefix("#").lower()
    if not re.fullmatch("[0-9a-f]{6}", digits) or contrast_with_white(digits) < LEAST_CONTRAST:
        raise ColourNotReadable(typed)
    return digits


def contrast_with_white(digits: str) -> float:
    """WCAG 2.2 contrast ratio of a colour against white, from 1 to 21."""
    return 1.05 / (_luminance(digits) + 0.05)


def theme_css(digits: str) -> str:
    """The custom properties of a caisse, derived from its one colour."""
    return (
        f":root{{--brand:#{digits};--brand-dark:#{_mix(digits, '000000', 0.28)};"
        f"--brand-soft:#{_mix(digits, 'ffffff', 0.92)};--brand-line:#{_mix(digits, 'ffffff', 0.7)}}}\n"
    )


def _luminance(digits: str) -> float:
    red, green, blue = (_linear(int(digits[at : at + 2], 16) / 255) for at in (0, 2, 4))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4


def _mix(digits: str, other: str, share: float) -> str:
    """`share` of `other` in the colour, channel by channel."""
    channels = (
        round(int(digits[at : at + 2], 16) * (1 - share) + int(other[at : at + 2], 16) * share)
        for at in (0, 2, 4)
    )
    return "".join(f"{channel:02x}" for channel in channels)

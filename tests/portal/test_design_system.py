"""The design system: how values are shown, colours that can be read, a sheet that stays small."""

import re
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError

from libs.common.pages import formats
from libs.common.pages.brand import (
    LEAST_CONTRAST,
    ColourNotReadable,
    contrast_with_white,
    parse_colour,
    theme_css,
)
from libs.common.pages.environment import Pages
from libs.common.pages.language import choose_language
from libs.common.pages.static_files import STATIC

KILOBYTE = 1024
ROOT = Path(__file__).resolve().parents[2]


def test_the_sheet_stays_under_fifteen_kilobytes() -> None:
    assert (STATIC / "espace.css").stat().st_size <= 15 * KILOBYTE


def test_every_class_of_the_sheet_is_on_a_page() -> None:
    told = set(re.findall(r"[.]([a-z][a-z0-9-]*)", (STATIC / "espace.css").read_text("utf-8")))
    variants = re.compile("(button|input|notice|tag|tile)-.+")
    templates = [page for folder in ("libs", "services") for page in (ROOT / folder).rglob("*.html")]
    worn = " ".join(re.findall(r'class="([^"]*)"', "".join(page.read_text("utf-8") for page in templates)))

    assert [
        one for one in sorted(told) if not variants.match(one) and not re.search(rf"(?<![\w-]){one}\b", worn)
    ] == []


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (datetime(2021, 1, 7, 8, 0, tzinfo=UTC), "7 janvier 2021 à 9 h"),
        (datetime(2021, 7, 1, 7, 5, tzinfo=UTC), "1er juillet 2021 à 9 h 05"),
        # The night when the clocks go back: 02:30 comes twice.
        (datetime(2026, 10, 25, 1, 30, tzinfo=UTC), "25 octobre 2026 à 2 h 30"),
        ("2026-12-31T23:30:00Z", "1er janvier 2027 à 0 h 30"),
    ],
)
def test_instants_are_shown_in_paris(value: datetime | str, shown: str) -> None:
    assert formats.instant(value).replace("\u00a0", " ") == shown


def test_a_line_never_ends_between_a_day_and_its_hour() -> None:
    assert formats.instant("2021-07-01T07:05:00Z").endswith("2021 à\u00a09\u00a0h\u00a005")


def test_an_address_is_cut_where_it_is_read() -> None:
    shown = formats.email("marie-jo.d'hôtel@btp.example")

    assert shown == "marie-jo.d&#39;hôtel@<wbr>btp<wbr>.example"
    assert formats.email("") == ""


def test_days_are_shown_as_they_are() -> None:
    assert formats.day(date(2024, 2, 29)) == "29\u00a0février 2024"
    assert formats.day("2026-03-01") == "1er\u00a0mars 2026"
    assert formats.day(date(2026, 3, 1), "en") == "1\u00a0March 2026"


@pytest.mark.parametrize(
    ("cents", "shown"),
    [
        (0, "0,00\u00a0€"),
        (5, "0,05\u00a0€"),
        (123456789, "1\u202f234\u202f567,89\u00a0€"),
        (-150, "−1,50\u00a0€"),
    ],
)
def test_amounts_have_their_spaces(cents: int, shown: str) -> None:
    assert formats.euros(cents) == shown


@given(st.integers(-(10**15), 10**15))
def test_an_amount_can_be_read_back(cents: int) -> None:
    shown = formats.euros(cents)

    assert int("".join(c for c in shown if c.isdigit())) == abs(cents)


@pytest.mark.parametrize(
    ("period", "shown"),
    [
        ("2026-11", "novembre 2026"),
        ("2026-T1", "1er trimestre 2026"),
        ("2026-T4", "4e trimestre 2026"),
        ("2026", "2026"),
        ("2026-13", "2026-13"),
        ("n'importe quoi", "n'importe quoi"),
    ],
)
def test_periods_read_as_people_say_them(period: str, shown: str) -> None:
    assert formats.period(period) == shown


def test_numbers_come_in_groups() -> None:
    assert formats.siret("73282932000074").replace("\u00a0", " ") == "732 829 320 00074"
    assert formats.siren("732829320").replace("\u00a0", " ") == "732 829 320"
    assert formats.iban_masked("FR76 3000 6000 0112 3456 7890 189") == "FR76\u00a0••••\u00a0189"
    assert formats.groups("7K3MQ9TZ2X4W").replace("\u00a0", " ") == "7K3M Q9TZ 2X4W"
    assert formats.phone("04 91 00 00 00") == "04\u00a091\u00a000\u00a000\u00a000"


@given(st.from_regex("#?[0-9a-fA-F]{6}", fullmatch=True))
def test_a_colour_is_readable_or_refused(typed: str) -> None:
    try:
        colour = parse_colour(typed)
    except ColourNotReadable:
        assert contrast_with_white(typed.removeprefix("#").lower()) < LEAST_CONTRAST
    else:
        assert contrast_with_white(colour) >= LEAST_CONTRAST
        assert f"--brand:#{colour}" in theme_css(colour)


@pytest.mark.parametrize("typed", ["", "red", "#fff", "0b4a6g", "0b4a6f;}", "#ffff00"])
def test_what_is_no_readable_colour_is_refused(typed: str) -> None:
    with pytest.raises(ColourNotReadable):
        parse_colour(typed)


@pytest.mark.parametrize(
    ("ui_locales", "header", "chosen"),
    [
        (None, None, "fr"),
        (None, "en-GB,en;q=0.9", "en"),
        (None, "de,en;q=0.5,fr;q=0.8", "fr"),
        ("en fr", "fr", "en"),
        ("de", "fr", "fr"),
        (None, "en;q=0,fr;q=0.1", "fr"),
        (None, "en;q=beaucoup", "fr"),
    ],
)
def test_the_language_is_the_readers(ui_locales: str | None, header: str | None, chosen: str) -> None:
    assert choose_language(ui_locales, header) == chosen


def test_a_name_that_nobody_gave_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("{{ forgotten }}", "utf-8")

    with pytest.raises(UndefinedError):
        Pages(tmp_path).html("page.html")


def test_what_people_typed_is_never_markup(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text('{{ ui.text_field("a", "A", value=typed) }}', "utf-8")

    page = Pages(tmp_path).html("page.html", typed='"><script>alert(1)</script>')

    assert "<script>" not in page

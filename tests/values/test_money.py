import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.values.money import InvalidAmount, format_euros, parse_euros


@given(st.integers(-(10**14), 10**14))
def test_what_we_write_we_read(amount_cents: int):
    assert parse_euros(format_euros(amount_cents)) == amount_cents


@pytest.mark.parametrize(
    ("typed", "amount_cents"),
    [
        ("1 234,56", 123_456),
        ("1234,56", 123_456),
        ("1234.5", 123_450),
        ("1\u202f234\u00a0€", 123_400),
        ("-12,00", -1_200),
        ("0,05", 5),
        (" 7 ", 700),
    ],
)
def test_amounts_as_people_write_them(typed: str, amount_cents: int):
    assert parse_euros(typed) == amount_cents


@pytest.mark.parametrize(
    "typed", ["", "1 23,45", "1.234,56", "12,345", "douze", "1e3", ",5", "--1", "1 2345"]
)
def test_what_could_be_read_two_ways_is_refused(typed: str):
    with pytest.raises(InvalidAmount):
        parse_euros(typed)


def test_amounts_as_we_print_them():
    assert format_euros(123_456_789) == "1\u202f234\u202f567,89\u00a0€"
    assert format_euros(-5) == "−0,05\u00a0€"

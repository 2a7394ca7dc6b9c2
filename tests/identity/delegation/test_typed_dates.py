"""A date of three fields, whatever is typed into them."""

import pytest

from libs.common.http.forms import Form
from libs.common.values.sentence import Sentence
from services.identity.delegation.form import read_date

LONG = "9" * 1900


@pytest.mark.parametrize(
    ("day", "month", "year"),
    [
        ("1", "9" * 20, "2027"),
        ("9" * 20, "1", "2027"),
        (LONG, "1", "2027"),
        ("1", LONG, "2027"),
        ("1", "1", LONG),
    ],
    ids=["month", "day", "long day", "long month", "long year"],
)
def test_a_number_beyond_every_calendar_is_no_date(day: str, month: str, year: str) -> None:
    errors: dict[str, Sentence] = {}
    typed = Form([("d-day", day), ("d-month", month), ("d-year", year)])

    assert read_date(typed, "d", errors) is None
    assert "d" in errors

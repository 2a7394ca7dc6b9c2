from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.values.leave_year import LeaveYear, earliest_affiliation


@given(st.dates(date(1950, 1, 1), date(2100, 1, 1)))
def test_every_day_belongs_to_exactly_one_leave_year(day: date):
    year = LeaveYear.of(day)
    assert day in year
    assert day not in year.previous()
    assert day not in year.next()
    assert year.previous().ends_on + timedelta(days=1) == year.starts_on


@pytest.mark.parametrize(
    ("day", "label"),
    [
        (date(2021, 3, 31), "2020-2021"),
        (date(2021, 4, 1), "2021-2022"),
        (date(2024, 2, 29), "2023-2024"),
        (date(2020, 12, 31), "2020-2021"),
    ],
)
def test_31_march_closes_a_year_and_1_april_opens_the_next(day: date, label: str):
    assert str(LeaveYear.of(day)) == label


def test_affiliation_reaches_back_to_the_previous_opening():
    assert earliest_affiliation(date(2021, 3, 31)) == date(2019, 4, 1)
    assert earliest_affiliation(date(2021, 4, 1)) == date(2020, 4, 1)

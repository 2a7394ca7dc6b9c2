"""A mandate's days are days in Paris; the platform's instants are UTC."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

PARIS = ZoneInfo("Europe/Paris")


def paris_day(now: datetime) -> date:
    """The calendar day in Paris at the instant `now`."""
    return now.astimezone(PARIS).date()


def end_of(last_day: date) -> datetime:
    """The instant a mandate stops: midnight in Paris after its last day. Exclusive.

    The calendar's own last day has none after it: the mandate stops as it begins, an instant that every zone can write.
    """
    if last_day == date.max:
        return datetime.combine(last_day, time.min, UTC)
    return datetime.combine(last_day + timedelta(days=1), time.min, PARIS).astimezone(UTC)


def one_year_from(first_day: date) -> date:
    """The last day of a year that begins on `first_day`; a year from 29 February ends on the 28th."""
    try:
        return first_day.replace(year=first_day.year + 1) - timedelta(days=1)
    except ValueError:
        return date(first_day.year + 1, 2, 28)

"""The leave year: 1 April to 31 March (the *exercice*)."""

from datetime import date
from typing import NamedTuple, Self


class LeaveYear(NamedTuple):
    """A leave year, known by the calendar year in which it opens."""

    opens_in: int

    @classmethod
    def of(cls, day: date) -> Self:
        """The leave year a day belongs to: 31 March closes one, 1 April opens the next."""
        return cls(day.year if day >= date(day.year, 4, 1) else day.year - 1)

    @property
    def starts_on(self) -> date:
        return date(self.opens_in, 4, 1)

    @property
    def ends_on(self) -> date:
        """The last day, included."""
        return date(self.opens_in + 1, 3, 31)

    def previous(self) -> "LeaveYear":
        return LeaveYear(self.opens_in - 1)

    def next(self) -> "LeaveYear":
        return LeaveYear(self.opens_in + 1)

    def __contains__(self, day: object) -> bool:
        return isinstance(day, date) and self.starts_on <= day <= self.ends_on

    def __str__(self) -> str:
        return f"{self.opens_in}-{self.opens_in + 1}"


def earliest_affiliation(day: date) -> date:
    """Affiliation reaches back no further than the opening of the previous leave year (D.3141-25)."""
    return LeaveYear.of(day).previous().starts_on

"""What is said of each row of a former system's export, to a person who can mend the file."""

from enum import StrEnum
from typing import NamedTuple


class Outcome(StrEnum):
    ACCEPTED = "accepted"
    CORRECTED = "corrected"
    REFUSED = "refused"


class Verdict(NamedTuple):
    """One remark on one row. `line` counts from 1, the header included.

    `code` is stable, `reason` is French and never repeats the value: a list of
    refusals is read aloud on the telephone.
    """

    file: str
    line: int
    column: str
    outcome: Outcome
    code: str
    reason: str


class RowRefused(Exception):
    """This row cannot enter; the others go on."""

    def __init__(self, column: str, code: str, reason: str) -> None:
        super().__init__(code)
        self.column = column
        self.code = code
        self.reason = reason

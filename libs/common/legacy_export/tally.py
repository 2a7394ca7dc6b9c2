"""Counting as one reads: every line ends in exactly one count, every remark in one list."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import msgspec

from libs.common.legacy_export.profile import Profile, read_rows
from libs.common.legacy_export.row import Row
from libs.common.legacy_export.verdict import Outcome, RowRefused, Verdict

Mapped = TypeVar("Mapped")
Tell = Callable[[Verdict], None]
"""Where verdicts go: a file, a table; never a list that grows with the export."""

Progress = Callable[[str, int, int], None]
"""`progress(what, done, total)`, some times a second."""


class FileCounts(msgspec.Struct, kw_only=True):
    """What became of the rows of one file."""

    read: int = 0
    accepted: int = 0
    corrected: int = 0
    """Those of the accepted in which something was mended."""
    refused: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0

    @property
    def is_reconciled(self) -> bool:
        """Nothing was lost: neither between reading and judging, nor between judging and writing."""
        return (
            self.read == self.accepted + self.refused
            and self.accepted == self.inserted + self.updated + self.unchanged
        )


class FileReport(msgspec.Struct, kw_only=True):
    """One file of the export: how it was written and what became of it."""

    encoding: str
    separator: str
    counts: FileCounts


def accepted_rows(
    profile: Profile,
    counts: FileCounts,
    tell: Tell,
    progress: Progress,
    map_row: Callable[[Row], Mapped],
    check: Callable[[Row, Mapped], None],
) -> Iterator[Mapped]:
    """Judge every row of a file and yield the good ones. `map_row` and `check` refuse one by raising `RowRefused`."""
    for number, (row, mapped) in enumerate(_mapped(profile, counts, tell, map_row), start=1):
        if number % 5_000 == 0:
            progress(profile.file, row.line, profile.lines)
        try:
            check(row, mapped)
        except RowRefused as refusal:
            _refuse(profile.file, row.line, refusal, counts, tell)
            continue
        counts.accepted += 1
        if row.verdicts:
            counts.corrected += 1
            for verdict in row.verdicts:
                tell(verdict)
        yield mapped
    progress(profile.file, profile.lines, profile.lines)


def _mapped(
    profile: Profile, counts: FileCounts, tell: Tell, map_row: Callable[[Row], Mapped]
) -> Iterator[tuple[Row, Mapped]]:
    for raw in read_rows(profile):
        counts.read += 1
        try:
            row = Row(profile, raw)
            mapped = map_row(row)
        except RowRefused as refusal:
            _refuse(profile.file, raw.line, refusal, counts, tell)
            continue
        yield row, mapped


def _refuse(file: str, line: int, refusal: RowRefused, counts: FileCounts, tell: Tell) -> None:
    counts.refused += 1
    tell(Verdict(file, line, refusal.column, Outcome.REFUSED, refusal.code, refusal.reason))

"""Between reading and writing, on disk: what a quarter of a million rows would cost in memory.

A throw-away SQLite file finds doubled numbers, and brings an adhérent's
establishments, contacts and authorisations together whatever the order of the files.
"""

import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import msgspec

from libs.common.legacy_export.verdict import Outcome, Verdict
from services.identity.legacy_import.mapping import (
    AdherentRow,
    AuthorisationRow,
    ContactRow,
    EstablishmentRow,
)

_SCHEMA = """
PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA temp_store = FILE; PRAGMA cache_size = -16000;
CREATE TABLE adherent (position INTEGER PRIMARY KEY, number TEXT NOT NULL UNIQUE, body BLOB NOT NULL);
CREATE TABLE known_firm (number TEXT PRIMARY KEY, siren TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE attached (kind TEXT NOT NULL, number TEXT NOT NULL, key TEXT NOT NULL, body BLOB NOT NULL,
                       PRIMARY KEY (number, kind, key)) WITHOUT ROWID;
CREATE TABLE verdict (file TEXT, line INTEGER, column_name TEXT, outcome TEXT, code TEXT, reason TEXT);
"""
Attached = EstablishmentRow | ContactRow | AuthorisationRow
_KINDS: dict[str, type[Attached]] = {
    "establishment": EstablishmentRow,
    "contact": ContactRow,
    "authorisation": AuthorisationRow,
}


class MemberFile(NamedTuple):
    """All that the export says of one adhérent."""

    adherent: AdherentRow
    establishments: list[EstablishmentRow]
    contacts: list[ContactRow]
    authorisations: list[AuthorisationRow]


class Spill:
    """A temporary file that lives as long as the `with` block."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="espace-import-")
        self._sqlite = sqlite3.connect(Path(self._folder.name) / "spill.sqlite", isolation_level=None)
        self._sqlite.executescript(_SCHEMA)
        self._sqlite.execute("BEGIN")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sqlite.close()
        self._folder.cleanup()

    def remember_firms(self, numbers_and_sirens: Iterable[tuple[str, str]]) -> None:
        """What the caisse knows already."""
        self._sqlite.executemany("INSERT INTO known_firm VALUES (?, ?)", numbers_and_sirens)

    def known_siren(self, number: str) -> str | None:
        found = self._sqlite.execute("SELECT siren FROM known_firm WHERE number = ?", (number,)).fetchone()
        return found[0] if found else None

    def add_adherent(self, row: AdherentRow) -> bool:
        """False when an earlier line has this number."""
        added = self._sqlite.execute(
            "INSERT OR IGNORE INTO adherent (number, body) VALUES (?, ?)",
            (row.adherent_number, msgspec.msgpack.encode(row)),
        )
        return added.rowcount == 1

    def knows(self, number: str) -> bool:
        return (
            self._sqlite.execute("SELECT 1 FROM adherent WHERE number = ?", (number,)).fetchone() is not None
        )

    def attach(self, kind: str, row: Attached) -> bool:
        """False when an earlier line says the same thing of the same adhérent."""
        added = self._sqlite.execute(
            "INSERT OR IGNORE INTO attached (kind, number, key, body) VALUES (?, ?, ?, ?)",
            (kind, row.adherent_number, row.key, msgspec.msgpack.encode(row)),
        )
        return added.rowcount == 1

    def tell(self, verdict: Verdict) -> None:
        self._sqlite.execute("INSERT INTO verdict VALUES (?, ?, ?, ?, ?, ?)", verdict)

    def verdicts(self) -> Iterator[Verdict]:
        """In the order of the files and their lines."""
        for file, line, column, outcome, code, reason in self._sqlite.execute(
            "SELECT file, line, column_name, outcome, code, reason FROM verdict ORDER BY file, line, column_name"
        ):
            yield Verdict(file, line, column, Outcome(outcome), code, reason)

    def batches(self, size: int) -> Iterator[list[MemberFile]]:
        """The accepted adhérents with what is attached to them, `size` at a time, in the file's order."""
        last = 0
        while rows := self._sqlite.execute(
            "SELECT position, number, body FROM adherent WHERE position > ? ORDER BY position LIMIT ?",
            (last, size),
        ).fetchall():
            files = {
                number: MemberFile(msgspec.msgpack.decode(body, type=AdherentRow), [], [], [])
                for _, number, body in rows
            }
            self._bring_attached(files, rows[0][0], rows[-1][0])
            last = rows[-1][0]
            yield list(files.values())

    def _bring_attached(self, files: dict[str, MemberFile], first: int, last: int) -> None:
        for number, kind, body in self._sqlite.execute(
            """
            SELECT attached.number, attached.kind, attached.body
              FROM adherent CROSS JOIN attached USING (number)
             WHERE adherent.position BETWEEN ? AND ?
            """,
            (first, last),
        ):
            row = msgspec.msgpack.decode(body, type=_KINDS[kind])
            if isinstance(row, EstablishmentRow):
                files[number].establishments.append(row)
            elif isinstance(row, ContactRow):
                files[number].contacts.append(row)
            else:
                files[number].authorisations.append(row)

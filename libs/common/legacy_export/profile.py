"""How a file of the export was written: encoding, separator, columns. Nothing is assumed, all is read."""

import codecs
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

CHUNK = 1 << 20
SEPARATORS = (";", "\t", "|")
# Bytes 80 to 9F are control codes in ISO-8859-15, and letters (œ, ’, €) in Windows-1252.
_WINDOWS_LETTERS = re.compile(rb"[\x80-\x9f]")


class NotAnExport(Exception):
    """The file cannot be read as a table; the message says which file and why, in French."""


class Profile(NamedTuple):
    """What reading needs to know of one file."""

    path: Path
    encoding: str
    separator: str
    columns: tuple[str, ...]
    lines: int
    """Line ends, for a progress bar; blank lines count too."""

    @property
    def file(self) -> str:
        return self.path.name


class RawRow(NamedTuple):
    """The fields of one line, as text. Their number may differ from the header's."""

    line: int
    fields: list[str]


def profile(path: Path, required: tuple[str, ...]) -> Profile:
    """Read the whole file once, in pieces, and tell how to decode and split it.

    Raises `NotAnExport` when it is empty or lacks one of the `required` columns.
    """
    encoding, lines = _encoding_and_lines(path)
    with path.open(encoding=encoding, newline="") as file:
        header = file.readline().lstrip("\ufeff").rstrip("\r\n")
    if not header:
        raise NotAnExport(f"{path.name} est vide.")
    separator = max(SEPARATORS, key=header.count)
    columns = tuple(name.strip().strip('"').upper() for name in header.split(separator))
    if missing := [name for name in required if name not in columns]:
        raise NotAnExport(f"{path.name} : il manque la colonne {', '.join(missing)} (ligne 1).")
    if len(set(columns)) != len(columns):
        raise NotAnExport(f"{path.name} : une colonne porte deux fois le même nom (ligne 1).")
    return Profile(path, encoding, separator, columns, lines)


def read_rows(profile: Profile) -> Iterator[RawRow]:
    """Every line after the header, blank ones apart, one at a time.

    A field never crosses a line: a quote left open spoils its own row and no other.
    """
    with profile.path.open(encoding=profile.encoding, newline="\n", errors="replace") as file:
        next(file)
        for number, text in enumerate(file, start=2):
            line = text.rstrip("\r\n")
            if line.strip():
                yield RawRow(number, split(line, profile.separator))


def split(line: str, separator: str) -> list[str]:
    """Split at the separators that stand outside double quotes; `""` inside is one quote."""
    if '"' not in line:
        return [field.strip() for field in line.split(separator)]
    fields: list[str] = [""]
    quoted = False
    for symbol in line:
        if symbol == '"':
            if not quoted and fields[-1].endswith("\0"):
                fields[-1] = fields[-1][:-1] + '"'
            elif quoted:
                fields[-1] += "\0"
            quoted = not quoted
        elif symbol == separator and not quoted:
            fields.append("")
        else:
            fields[-1] += symbol
    return [field.replace("\0", "").strip() for field in fields]


def _encoding_and_lines(path: Path) -> tuple[str, int]:
    lines = 0
    decoder = codecs.getincrementaldecoder("utf-8")()
    is_utf8, has_high, is_windows = True, False, False
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            lines += piece.count(b"\n")
            has_high = has_high or not piece.isascii()
            is_windows = is_windows or _WINDOWS_LETTERS.search(piece) is not None
            if is_utf8:
                try:
                    decoder.decode(piece)
                except UnicodeDecodeError:
                    is_utf8 = False
    if is_utf8 and has_high:
        try:
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            is_utf8 = False
    if is_utf8:
        return "utf-8", lines
    return ("cp1252" if is_windows else "iso-8859-15"), lines

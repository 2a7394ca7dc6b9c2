"""The demonstration's post office: print lots arrive as files, and can be read on a screen instead of by post.

A lot is `{lot}.pdf` with, beside it, `{lot}.json`:

    {"caisse": "mediterranee", "kind": "identifiant",
     "pages": [{"page": 1, "adherent_number": "…", "kind": "identifiant", "recipient": "…"}]}

Pages count from 1. A lot without its manifest is shown page by page.
"""

import io
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

import msgspec
import pypdfium2 as pdfium

_LOT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,120}")
_pdfium_is_not_thread_safe = Lock()


class LetterPage(msgspec.Struct, kw_only=True):
    """One letter of a lot, as the manifest names it."""

    page: int
    adherent_number: str = ""
    kind: str = ""
    recipient: str = ""


class Lot(msgspec.Struct, kw_only=True):
    """One file handed over for printing."""

    lot: str = ""
    caisse: str = ""
    kind: str = ""
    post_on: str = ""
    """The day this lot would be posted, as the manifest says it."""
    arrived_at: datetime | None = None
    pages: list[LetterPage] = []


class NoSuchLetter(LookupError):
    """No lot of that name, or it has no such page."""


@dataclass
class PostOffice:
    """The folder where print lots arrive."""

    folder: Path
    _read: dict[Path, tuple[int, Lot]] = field(default_factory=dict[Path, "tuple[int, Lot]"], repr=False)

    def lots(self) -> list[Lot]:
        """Every lot, newest first."""
        files = sorted(self.folder.glob("*.pdf"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        return [self._lot(path) for path in files]

    def pdf(self, lot: str, page: int) -> bytes:
        """One letter as a PDF of its own. Raises `NoSuchLetter`."""
        with _pdfium_is_not_thread_safe, self._open(lot) as document:
            index = _index(document, page)
            alone: Any = pdfium.PdfDocument.new()
            alone.import_pages(document, [index])
            written = io.BytesIO()
            alone.save(written)
            return written.getvalue()

    def png(self, lot: str, page: int, *, dots_per_inch: int = 110) -> bytes:
        """One letter as a picture. Raises `NoSuchLetter`."""
        with _pdfium_is_not_thread_safe, self._open(lot) as document:
            bitmap: Any = document[_index(document, page)].render(scale=dots_per_inch / 72)
            return _as_png(bitmap)

    def text(self, lot: str, page: int) -> str:
        """What one letter says, line by line. Raises `NoSuchLetter`."""
        with _pdfium_is_not_thread_safe, self._open(lot) as document:
            said: Any = document[_index(document, page)].get_textpage()
            return str(said.get_text_bounded()).replace("\r\n", "\n")

    def _open(self, lot: str) -> Any:
        path = self.folder / f"{lot}.pdf"
        if not _LOT.fullmatch(lot) or not path.is_file():
            raise NoSuchLetter(lot)
        return pdfium.PdfDocument(path)

    def _lot(self, path: Path) -> Lot:
        manifest = path.with_suffix(".json")
        stamp = path.stat().st_mtime_ns + (manifest.stat().st_mtime_ns if manifest.exists() else 0)
        known = self._read.get(path)
        if known is None or known[0] != stamp:
            known = self._read[path] = (stamp, self._read_lot(path, manifest))
        return known[1]

    def _read_lot(self, path: Path, manifest: Path) -> Lot:
        lot = Lot()
        if manifest.exists():
            try:
                lot = msgspec.json.decode(manifest.read_bytes(), type=Lot)
            except msgspec.DecodeError:
                lot = Lot()
        if not lot.pages:
            with _pdfium_is_not_thread_safe, pdfium.PdfDocument(path) as document:
                lot.pages = [LetterPage(page=number + 1) for number in range(len(document))]
        lot.lot = path.stem
        lot.arrived_at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        return lot


def _index(document: Any, page: int) -> int:
    if not 1 <= page <= len(document):
        raise NoSuchLetter(str(page))
    return page - 1


def _as_png(bitmap: Any) -> bytes:
    """PNG without an imaging library: 8-bit RGB, no filter."""
    import struct
    import zlib

    width, height, stride, channels = bitmap.width, bitmap.height, bitmap.stride, bitmap.n_channels
    buffer = bytes(bitmap.buffer)
    rows = bytearray()
    for line in range(height):
        row = buffer[line * stride : line * stride + width * channels]
        rgb = bytearray(width * 3)
        # pdfium gives blue first.
        rgb[0::3], rgb[1::3], rgb[2::3] = row[2::channels], row[1::channels], row[0::channels]
        rows += b"\0" + rgb

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(rows), 6))
        + chunk(b"IEND", b"")
    )

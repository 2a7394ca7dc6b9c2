"""Typst at work on one lot, in this process for a few letters, in one of its own for many.

Typst remembers what it laid out for its next ten compilations, a third of a megabyte
a letter: a process that ends gives all of it back. Letters pass through pipes only.
"""

import asyncio
import sys
import threading
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typst

TEMPLATE = Path(__file__).with_name("letter.typ")
FEW = 20
"""Letters that are not worth a process (a third of a second to start)."""

_one_at_a_time = threading.Lock()


class LetterTooLong(Exception):
    """What a caisse prints of itself does not fit on one sheet: nothing was made."""


async def compile_letters(data: bytes, letters: int) -> bytes:
    """The PDF of `letters` pages that `data`, a JSON document for letter.typ, describes.

    Raises `LetterTooLong` when they take more pages than that.
    """
    pdf = await (asyncio.to_thread(compile_here, data) if letters <= FEW else _compile_apart(data))
    if (pages := await asyncio.to_thread(_pages, pdf)) != letters:
        raise LetterTooLong(f"{letters} letters took {pages} pages")
    return pdf


def compile_here(data: bytes) -> bytes:
    """Tagged PDF/UA-1, with embedded fonts alone: the same letters on every machine."""
    with _one_at_a_time:
        pdf = _compiler().compile(format="pdf", sys_inputs={"letters": data.decode()}, pdf_standards=["ua-1"])
    assert isinstance(pdf, bytes)
    return pdf


async def _compile_apart(data: bytes) -> bytes:
    child = await asyncio.create_subprocess_exec(
        sys.executable, __file__, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        pdf, _ = await child.communicate(data)
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode != 0:
        raise RuntimeError(f"typesetting ended with code {child.returncode}")
    return pdf


@cache
def _compiler() -> "typst.Compiler":
    # Imported where letters are made: whoever only reads about them is spared both engines.
    import typst

    return typst.Compiler(input=TEMPLATE, root=TEMPLATE.parent, ignore_system_fonts=True)


def _pages(pdf: bytes) -> int:
    import pypdfium2 as pdfium

    # pdfium is single-threaded.
    with _one_at_a_time:
        document = pdfium.PdfDocument(pdf)
        try:
            return len(document)
        finally:
            document.close()


if __name__ == "__main__":
    sys.stdout.buffer.write(compile_here(sys.stdin.buffer.read()))

"""A client's image, drawn anew: what people see is ours, byte for byte.

The file comes from anywhere. Its type and its dimensions are judged before a
pixel is decoded, one picture is kept of it, and a PNG of our own making is
served: no script, no metadata, no second format hidden behind the first.
"""

import io
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from PIL import Image

DECLARED: Final = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif"})
"""No SVG: it is a document, with scripts and addresses in it."""
FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF")
SMALLEST, WIDEST = 16, 2048
"""Pixels of a side."""
MOST_PIXELS = 2048 * 1024
PLACE: Final = (160, 56)
"""Pixels, width and height, that the page gives a logo.

It is kept at twice that, for dense screens: 144,000 bytes at the very most.
"""


class Logo(NamedTuple):
    """An image of ours, and the room it takes on the page."""

    png: bytes
    width: int
    height: int


class NotALogo(Exception):
    """Not one of the four kinds of image, or too large, too small, broken. The text is for the operator."""


def as_shown(body: bytes, content_type: str) -> Logo:
    """The PNG to serve, at most twice `PLACE`. Raises `NotALogo`.

    Blocking: up to 150 ms, for two million pixels of WebP.
    """
    declared = content_type.partition(";")[0].strip().lower()
    if declared not in DECLARED:
        raise NotALogo("not declared as PNG, JPEG, WebP or GIF")
    # Imported by the worker at its first logo; the processes that answer requests never decode one.
    from PIL import Image

    try:
        with Image.open(io.BytesIO(body), formats=FORMATS) as image:
            _check_sides(*image.size)
            image.draft("RGB", (4 * PLACE[0], 4 * PLACE[1]))
            drawn = image.convert("RGBA")
    except NotALogo:
        raise
    except Exception as error:
        # A decoder given a stranger's bytes raises what it likes; whatever it is, this is no logo.
        raise NotALogo(f"cannot be read: {type(error).__name__}") from error
    drawn.thumbnail((2 * PLACE[0], 2 * PLACE[1]))
    # Never blown up: what is smaller than its place is shown as it is.
    scale = min(1.0, PLACE[0] / drawn.width, PLACE[1] / drawn.height)
    width, height = (max(1, round(side * scale)) for side in drawn.size)
    return Logo(_png(drawn), width, height)


def _check_sides(width: int, height: int) -> None:
    if min(width, height) < SMALLEST or max(width, height) > WIDEST or width * height > MOST_PIXELS:
        raise NotALogo(f"{width} by {height} pixels")


def _png(image: "Image.Image") -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()

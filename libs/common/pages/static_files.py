"""The design system's files, named by their content and cached for ever.

The name changes with the bytes, so a browser never keeps an old style after a deployment.
"""

import hashlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

from libs.common.pages.brand import Brand, theme_css

STATIC = Path(__file__).parent / "static"

MEDIA_TYPES = {".css": "text/css; charset=utf-8", ".svg": "image/svg+xml", ".png": "image/png"}


class StaticFile(NamedTuple):
    """One file as served: its address ends with `name`, which holds its hash."""

    name: str
    content: bytes
    media_type: str


@cache
def static_files() -> dict[str, StaticFile]:
    """Every file of `static/`, by the name the templates use."""
    return {path.name: _hashed(path) for path in sorted(STATIC.iterdir()) if path.suffix in MEDIA_TYPES}


def static_url(name: str) -> str:
    """`espace.css` as `/static/espace.<hash>.css`. An unknown name is our bug and raises `KeyError`."""
    return f"/static/{static_files()[name].name}"


def theme_url(brand: Brand) -> str:
    """The address of a caisse's colours. It holds the colour itself, so it never changes meaning."""
    return f"/static/theme-{brand.colour}.css"


def find_static(name: str) -> StaticFile | None:
    """The file served under this exact name, or `None`."""
    for file in static_files().values():
        if file.name == name:
            return file
    return None


def theme_file(colour: str) -> StaticFile:
    """A caisse's colours as a style sheet; `colour` has passed `parse_colour`."""
    return StaticFile(f"theme-{colour}.css", theme_css(colour).encode(), MEDIA_TYPES[".css"])


def _hashed(path: Path) -> StaticFile:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:12]
    return StaticFile(f"{path.stem}.{digest}{path.suffix}", content, MEDIA_TYPES[path.suffix])

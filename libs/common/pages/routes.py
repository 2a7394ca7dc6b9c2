"""The design system's own addresses, the same in every app."""

import re

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from libs.common.pages.brand import ColourNotReadable, parse_colour
from libs.common.pages.static_files import StaticFile, find_static, theme_file

FOREVER = "public, max-age=31536000, immutable"

THEME = re.compile("theme-([0-9a-f]{6})[.]css")


def static_routes() -> list[HTTPRouteHandler]:
    """What each app adds to its route list so that its pages find their style."""
    return [static_file]


@get("/static/{name:str}", access="anyone")
async def static_file(name: FromPath[str]) -> Response[bytes]:
    """A file by its hashed name, or a caisse's colours; anything else is 404."""
    file = _themed(name) or find_static(name)
    if file is None:
        return Response(b"", status_code=404, media_type="text/plain")
    headers = {"Cache-Control": FOREVER, "X-Content-Type-Options": "nosniff"}
    return Response(file.content, media_type=file.media_type, headers=headers)


def _themed(name: str) -> StaticFile | None:
    match = THEME.fullmatch(name)
    if match is None:
        return None
    try:
        return theme_file(parse_colour(match[1]))
    except ColourNotReadable:
        return None

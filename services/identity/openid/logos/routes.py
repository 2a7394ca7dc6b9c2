"""Clients' logos, from our own origin (docs/decisions/0032)."""

import re

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from libs.common.database.pool import Database
from libs.common.values.caisse_slug import parse_caisse_slug
from services.identity.openid.logos import store

NAME = re.compile("[0-9a-f]{32}")

HEADERS = {
    # Opened by itself it is an image and nothing else; `nosniff` comes with every answer.
    "Content-Security-Policy": "default-src 'none'; sandbox; frame-ancestors 'none'",
    "Content-Disposition": 'inline; filename="logo.png"',
    "Cache-Control": "public, max-age=86400, immutable",
}


@get("/client-logos/{name:str}", access="anyone")
async def client_logo(
    slug: FromPath[str], name: FromPath[str], db: NamedDependency[Database]
) -> Response[bytes]:
    """A client's logo by the name of its bytes: always a PNG of our own making. No cookie counts here."""
    image = None
    if NAME.fullmatch(name):
        async with db.transaction(parse_caisse_slug(slug)) as tx:
            image = await store.image_named(tx, name)
    if image is None:
        return Response(b"", status_code=404, media_type="text/plain")
    return Response(image, media_type="image/png", headers=HEADERS)


ROUTES = [client_logo]
"""Under `/{caisse}`."""

"""The client behind a page of sign-in: what it asks, how it wants its people spoken to, where the forms may end."""

from datetime import datetime

from libs.common.database.pool import Database
from libs.common.http.csrf import browser_of
from libs.common.http.security_headers import allow_form_action
from libs.common.pages.environment import speak
from services.identity.openid.flow import Requirements, requirements
from services.identity.sign_in.destination import Destination
from services.identity.site.routes import AnyRequest, Site


async def client_behind(
    request: AnyRequest, site: Site, db: Database, destination: Destination, now: datetime
) -> Requirements | None:
    """What the client asks; `None` when there is none, or its flow is no longer under way in this browser."""
    if not destination.flow:
        return None
    async with db.transaction(site.slug) as tx:
        asked = await requirements(tx, destination.flow, browser_of(request), now)
    if asked is not None:
        speak(request.scope, asked.ui_locales)
        if asked.return_origin:
            allow_form_action(request.scope, asked.return_origin)
    return asked


async def still_leading(
    request: AnyRequest, site: Site, db: Database, destination: Destination, now: datetime
) -> tuple[Destination, str]:
    """The destination as far as it still leads somewhere, and the name of the client it leads to."""
    asked = await client_behind(request, site, db, destination, now)
    if destination.flow and asked is None:
        return Destination(), ""
    return destination, asked.client_name if asked else ""

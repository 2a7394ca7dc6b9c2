"""What an authorization flow asks of the sign-in page."""

from datetime import datetime, timedelta
from hashlib import sha256
from uuid import UUID

from msgspec import Struct

from libs.common.database.transaction import Tx
from services.identity.openid import flow_store
from services.identity.openid.authorization_request import AuthorizationRequest
from services.identity.sign_in.session import ACR_RANK


class Requirements(Struct, frozen=True, kw_only=True):
    """What a flow asks of the sign-in page."""

    acr: str | None = None
    max_age: timedelta | None = None
    login_hint: str | None = None
    prompt: str = ""
    """`login` when the present session, however good, does not do."""
    ui_locales: str | None = None
    client_id: str = ""
    client_name: str = ""
    """Empty for the caisse's own portal."""
    return_origin: str = ""
    """Where the forms of this flow may end, after redirects (`form-action`)."""


def requirements_of(request: AuthorizationRequest, client_name: str = "") -> Requirements:
    anew = "login" in request.prompt or request.hinted_subject is not None
    return Requirements(
        acr=request.acr if request.acr in ACR_RANK else None,
        max_age=None if request.max_age is None else timedelta(seconds=request.max_age),
        login_hint=request.login_hint,
        prompt="login" if anew else "",
        ui_locales=request.ui_locales,
        client_id=request.client_id,
        client_name=client_name,
        return_origin=origin_of(request.redirect_uri),
    )


def origin_of(uri: str) -> str:
    scheme, _, rest = uri.partition("://")
    return f"{scheme}://{rest.partition('/')[0].partition('?')[0]}" if rest else ""


async def requirements(tx: Tx, flow: str, browser: str, now: datetime) -> Requirements | None:
    """What the flow asks; `None` when it is unknown, finished, too old or another browser's.

    Reading proves nothing and binds nothing. `browser` is the name that this browser goes by (`csrf.browser_of`).
    """
    try:
        flow_id = UUID(flow)
    except ValueError:
        return None
    found = await flow_store.asked_of(tx, flow_id, sha256(browser.encode()).digest(), now)
    return None if found is None else requirements_of(*found)

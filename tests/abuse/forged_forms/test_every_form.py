"""Every form of every page, posted by somebody else's page: refused, whatever it was to do."""

from typing import Any

import pytest
from litestar import Litestar

from libs.common.http.csrf import PROTECTED_ACCESS
from tests.identity.sign_in.visitors import CAISSE, Visitor

FORGERIES: dict[str, tuple[str, dict[str, str]]] = {
    "no token": ("", {}),
    "another browser's token": ("other", {}),
    "from another site": ("own", {"sec-fetch-site": "cross-site"}),
    "from a sibling site": ("own", {"sec-fetch-site": "same-site"}),
    "from another origin": ("own", {"origin": "https://evil.example"}),
    "from no origin": ("own", {"origin": "null"}),
}


def posted_pages(app: Litestar) -> list[str]:
    """The address of each protected POST, its parameters filled in."""
    found: set[str] = set()
    for route in app.routes:
        for handler in getattr(route, "route_handlers", []):
            is_page = handler.opt.get("access") in PROTECTED_ACCESS and handler.opt.get("csrf", True)
            if "POST" in handler.http_methods and is_page:
                parts: Any = getattr(route, "path_components", [])
                said = [
                    CAISSE if getattr(part, "name", "") == "slug" else getattr(part, "name", part)
                    for part in parts
                ]
                found.add("/" + "/".join(said))
    return sorted(found)


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_no_form_is_believed(app: Litestar, visitor: Visitor, forgery: str) -> None:
    whose, headers = FORGERIES[forgery]
    stranger = Visitor(app)
    for one in (visitor, stranger):
        await one.get(f"/{CAISSE}/sign-in")
    assert visitor.token != stranger.token
    token = {"": {}, "own": {"csrf_token": visitor.token}, "other": {"csrf_token": stranger.token}}[whose]
    pages = posted_pages(app)
    assert len(pages) > 30
    for path in pages:
        answer = await visitor.http.post(path, data=token or {"x": "1"}, headers=headers)
        # Without a session the guard answers before the form is read; neither acts.
        to_sign_in = answer.status_code == 303 and "/sign-in?continue=" in answer.headers["location"]
        assert answer.status_code == 403 or to_sign_in, (path, answer.status_code)

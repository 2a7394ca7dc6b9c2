"""Every form of every page, posted by somebody else's page: refused, whatever it was to do."""

import pytest
from litestar import Litestar

from tests.addresses import addresses
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
    return [one.path for one in addresses(app, slug=CAISSE) if one.is_form]


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

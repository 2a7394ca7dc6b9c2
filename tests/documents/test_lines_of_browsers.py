"""Lines 18 and 19 of openid.md, at every address of documents as its own table of routes names them."""

import httpx
import pytest

from tests.addresses import a_stranger_asks_everywhere
from tests.documents.conftest import HERE

PUBLIC = ("/health/", "/metrics", "/static/", "/.well-known/", f"/{HERE}/seals/")
"""What says the same to everybody: the authority of the seals, styles."""


@pytest.mark.parametrize("accepted", ["text/html", "application/json"])
async def test_lines_18_and_19_hold_at_every_address(documents_api: httpx.AsyncClient, accepted: str) -> None:
    heard = await a_stranger_asks_everywhere(documents_api, public=PUBLIC, accepted=accepted, caisse=HERE)
    assert {401, 404, 405} <= heard

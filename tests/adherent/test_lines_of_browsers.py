"""Lines 18 and 19 of openid.md, at every address of adherent as its own table of routes names them."""

import httpx
import pytest

from tests.addresses import a_stranger_asks_everywhere

PUBLIC = ("/health/", "/metrics", "/.well-known/")
"""What says the same to everybody."""


@pytest.mark.parametrize("accepted", ["text/html", "application/json"])
async def test_lines_18_and_19_hold_at_every_address(adherent_api: httpx.AsyncClient, accepted: str) -> None:
    heard = await a_stranger_asks_everywhere(
        adherent_api, public=PUBLIC, accepted=accepted, caisse="mediterranee"
    )
    assert {401, 404, 405} <= heard

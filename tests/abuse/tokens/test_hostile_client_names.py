"""A client that registers itself chooses the name that the consent page shows: nothing in it may deceive."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.values.one_line import is_one_line
from services.identity.openid.write_client import open_registration
from tests.openid.party import Issuer

HOSTILE = [
    "Ma banque\u202e",
    "\u2066Ma banque\u2069",
    "Ma\u200b banque",
    "Ma\ufe0f banque",
    "\u3164",
    "Ma\nbanque",
    "Ma\u2028banque",
    " ",
    "",
    "é" * 201,
]


@pytest.mark.parametrize("name", HOSTILE, ids=lambda text: ascii(text[:20]))
async def test_a_name_that_deceives_is_refused(issuer: Issuer, name: str) -> None:
    async with issuer.db.transaction(issuer.caisse) as tx:
        await open_registration(tx, "standard", now=issuer.clock())
    said = {"redirect_uris": ["https://app.example/back"], "token_endpoint_auth_method": "none"}
    async with issuer.http() as http:
        refused = await http.post(f"/{issuer.caisse}/register", json=said | {"client_name": name})
        kept = await http.post(
            f"/{issuer.caisse}/register", json=said | {"client_name": "L’été – 夏, “été” & co"}
        )
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_client_metadata"), refused.text
    assert kept.status_code == 201, kept.text


@given(st.text(max_size=30))
def test_what_is_one_line_prints_as_one(name: str) -> None:
    if is_one_line(name, longest=30):
        assert name.splitlines() == [name] and name.strip() == name

"""A client that cannot exist is an unknown client: U+0000 and endless names reach no database."""

import base64
from urllib.parse import quote

import pytest

from tests.openid.party import ASSERTION, Issuer, Party

LONG = "c" * 20_000
HOSTILE = ["\x00", "a\x00b", LONG, "a" * 257, "é" * 300, "\u202e", "client id", "' OR 1=1 --", "%00"]


@pytest.fixture(scope="module")
async def client(issuer: Issuer) -> Party:
    return await issuer.client()


@pytest.mark.parametrize("client_id", HOSTILE, ids=lambda text: ascii(text[:12]))
@pytest.mark.parametrize("path", ["/token", "/par", "/introspect", "/revoke"])
async def test_by_each_method_of_authentication(client: Party, path: str, client_id: str) -> None:
    basic = base64.b64encode(f"{quote(client_id)}:s".encode()).decode()
    bare = base64.b64encode(f"{client_id}:s".encode()).decode()
    asserted = {
        "client_assertion_type": ASSERTION,
        "client_assertion": client.assertion(iss=client_id, sub=client_id),
    }
    for credentials, headers in (
        ({}, {"Authorization": f"Basic {basic}"}),
        ({}, {"Authorization": f"Basic {bare}"}),
        (asserted, {}),
        ({"client_id": client_id}, {}),
        ({"client_id": client_id, "client_secret": client_id}, {}),
    ):
        form = {"grant_type": "client_credentials", "token": "t"}
        answer = await client.post(path, form, credentials=credentials, headers=headers)
        assert answer.status_code in (400, 401), answer.text
        assert answer.json()["error"] in ("invalid_client", "invalid_request"), answer.text


@pytest.mark.parametrize("client_id", HOSTILE, ids=lambda text: ascii(text[:12]))
async def test_in_an_address(issuer: Issuer, client_id: str) -> None:
    named = quote(client_id, safe="")
    async with issuer.http() as http:
        for path in (f"authorize?client_id={named}", f"end-session?client_id={named}"):
            assert (await http.get(f"/{issuer.caisse}/{path}")).status_code == 400, path
        for path in (f"register/{named}", f"clients/{named}/logo", f"admin/clients/{named}"):
            answer = await http.get(f"/{issuer.caisse}/{path}", headers={"Authorization": "Bearer x"})
            assert answer.status_code in (401, 404), (path, answer.text)

"""Anybody may have a request kept until its person comes back: a small one, whatever its parameters hold."""

import json
from typing import Any

import pytest

from tests.openid.party import Issuer, Party, Somebody, callback

MUCH = "xyz-" * 5_000
CLAIM = json.dumps({"id_token": {"sub": {"value": MUCH}}})


async def rows(issuer: Issuer, table: str) -> int:
    async with issuer.db.transaction(issuer.caisse) as tx:
        return await tx.fetchval(f"SELECT count(*) FROM {table}")


async def posted(issuer: Issuer, client: Party, path: str, said: dict[str, Any]) -> int:
    async with issuer.http() as http:
        return (await http.post(f"/{issuer.caisse}{path}", data=said)).status_code


@pytest.mark.parametrize("much", [{"ui_locales": MUCH}, {"claims": CLAIM}])
async def test_a_large_request_is_refused_and_not_kept(issuer: Issuer, much: dict[str, str]) -> None:
    client = await issuer.client(token_endpoint_auth_method="none")
    who: Somebody = await issuer.person()
    assert callback(await client.authorize(who, **much))["error"] == "invalid_request"
    assert (await client.post("/par", client.request(**much))).json()["error"] == "invalid_request"
    await posted(issuer, client, "/authorize", client.request(**much))
    assert await rows(issuer, "authorization_flow") == await rows(issuer, "pushed_request") == 0


async def test_a_large_sign_out_is_refused_and_not_kept(issuer: Issuer) -> None:
    client = await issuer.client(token_endpoint_auth_method="none")
    assert await posted(issuer, client, "/end-session", {"client_id": client.client_id, "state": MUCH}) == 400
    assert await rows(issuer, "pushed_request") == 0


async def test_the_longest_of_each_parameter_is_kept(issuer: Issuer) -> None:
    client = await issuer.client(
        token_endpoint_auth_method="none", redirect_uris=("https://client.example/" + "a" * 1970,)
    )
    page = await client.authorize(
        await issuer.person(), state='"' * 2048, nonce="\\" * 2048, login_hint="é" * 320, ui_locales="fr " * 100,
    )  # fmt: skip
    assert "/sign-in?flow=" in page.headers["location"]

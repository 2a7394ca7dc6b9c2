"""OpenID Connect Basic: one test per judged module, under its own name (openid.md §6)."""

import json
from urllib.parse import parse_qsl, urlsplit

import pytest

from libs.common.access.signatures import sign_compact
from tests.openid.party import Issuer, Party, Somebody, callback, claims_of, header_of


@pytest.fixture
async def client(issuer: Issuer) -> Party:
    return await issuer.plain_client()


@pytest.fixture
async def who(issuer: Issuer) -> Somebody:
    return await (await issuer.person()).sign_in()


def reads_an_error_page(answer: object) -> None:
    assert getattr(answer, "status_code", 0) == 400
    assert 'id="failed"' in getattr(answer, "text", "")


def asks_to_sign_in(answer: object) -> None:
    headers = getattr(answer, "headers", {})
    assert getattr(answer, "status_code", 0) == 303 and "/sign-in?flow=" in headers["location"]


async def scope_claims(client: Party, who: Somebody, scope: str) -> dict[str, object]:
    tokens = await client.tokens(who, scope=scope)
    return (await client.userinfo(tokens["access_token"])).json()


async def test_oidcc_server(client: Party, who: Somebody) -> None:
    tokens = await client.tokens(who, nonce="n-1")
    claims = claims_of(tokens["id_token"])
    assert (claims["iss"], claims["aud"], claims["nonce"]) == (client.issuer.url, client.client_id, "n-1")


async def test_oidcc_response_type_missing(client: Party, who: Somebody) -> None:
    assert callback(await client.authorize(who, response_type=None))["error"] == "invalid_request"


async def test_oidcc_idtoken_signature(client: Party, who: Somebody, issuer: Issuer) -> None:
    token = (await client.tokens(who))["id_token"]
    async with issuer.http() as http:
        published = (await http.get(f"/{issuer.caisse}/jwks")).json()["keys"]
    (jwk,) = [key for key in published if key["kid"] == header_of(token)["kid"]]
    assert (jwk["alg"], header_of(token)["alg"]) == ("RS256", "RS256")


async def test_oidcc_idtoken_unsigned(issuer: Issuer) -> None:
    async with issuer.http() as http:
        told = (await http.get(f"/{issuer.caisse}/.well-known/openid-configuration")).json()
    assert "none" not in told["id_token_signing_alg_values_supported"]


async def test_oidcc_userinfo_get(client: Party, who: Somebody) -> None:
    answer = await client.userinfo((await client.tokens(who))["access_token"])
    assert answer.json()["sub"] == claims_of((await client.tokens(who))["id_token"])["sub"]


async def test_oidcc_userinfo_post_header(client: Party, who: Somebody) -> None:
    answer = await client.userinfo((await client.tokens(who))["access_token"], method="POST")
    assert answer.status_code == 200


async def test_oidcc_userinfo_post_body(client: Party, who: Somebody, issuer: Issuer) -> None:
    token = (await client.tokens(who))["access_token"]
    async with issuer.http() as http:
        answer = await http.post(f"/{issuer.caisse}/userinfo", data={"access_token": token})
        # RFC 9110 §8.3.1: a media type has no case.
        shouted = await http.post(
            f"/{issuer.caisse}/userinfo",
            content=f"access_token={token}",
            headers={"Content-Type": "Application/X-WWW-Form-Urlencoded ;charset=utf-8"},
        )
    assert shouted.status_code == 200
    assert answer.status_code == 200


async def test_oidcc_ensure_request_without_nonce_succeeds_for_code_flow(
    client: Party, who: Somebody
) -> None:
    assert "nonce" not in claims_of((await client.tokens(who, nonce=None))["id_token"])


async def test_oidcc_scope_profile(client: Party, who: Somebody) -> None:
    assert (await scope_claims(client, who, "openid profile"))["name"] == "Camille Martin"


async def test_oidcc_scope_email(client: Party, who: Somebody) -> None:
    told = await scope_claims(client, who, "openid email")
    assert (told["email"], told["email_verified"]) == (who.email, True)


async def test_oidcc_scope_address(client: Party, who: Somebody) -> None:
    assert (await scope_claims(client, who, "openid address"))["address"] == {"formatted": "1 rue du Port"}


async def test_oidcc_scope_phone(client: Party, who: Somebody) -> None:
    """We know no telephone number: the scope is accepted and gives nothing."""
    assert set(await scope_claims(client, who, "openid phone")) == {"sub"}


async def test_oidcc_scope_all(client: Party, who: Somebody) -> None:
    told = await scope_claims(client, who, "openid profile email address phone")
    assert {"name", "email", "address"} <= set(told)


async def test_oidcc_alternate_happy_flow(client: Party, who: Somebody) -> None:
    page = await client.authorize(who, response_mode="form_post")
    assert page.status_code == 200
    assert 'id="continue"' in page.text and "<script" not in page.text and 'name="code"' in page.text


async def test_oidcc_display_page(client: Party, who: Somebody) -> None:
    assert "code" in callback(await client.authorize(who, display="page"))


async def test_oidcc_display_popup(client: Party, who: Somebody) -> None:
    assert "code" in callback(await client.authorize(who, display="popup"))


async def test_oidcc_prompt_login(client: Party, who: Somebody, issuer: Issuer) -> None:
    first = claims_of((await client.tokens(who))["id_token"])
    issuer.clock.forward(seconds=5)
    answer = await client.authorize(who, prompt="login")
    asks_to_sign_in(answer)
    flow = answer.headers["location"].partition("flow=")[2]
    issuer.clock.forward(seconds=5)
    await who.sign_in()
    code = callback(await who.get(f"/{issuer.caisse}/authorize/continue?flow={flow}"))["code"]
    second = claims_of((await client.redeem(code)).json()["id_token"])
    assert second["auth_time"] > first["auth_time"] and second["sub"] == first["sub"]


async def test_oidcc_prompt_none_not_logged_in(client: Party, issuer: Issuer) -> None:
    stranger = await issuer.person()
    assert callback(await client.authorize(stranger, prompt="none"))["error"] == "login_required"


async def test_oidcc_prompt_none_logged_in(client: Party, who: Somebody) -> None:
    first = claims_of((await client.tokens(who))["id_token"])
    second = claims_of((await client.tokens(who, prompt="none"))["id_token"])
    assert (first["sub"], first["auth_time"]) == (second["sub"], second["auth_time"])


async def test_oidcc_max_age_1(client: Party, who: Somebody, issuer: Issuer) -> None:
    issuer.clock.forward(seconds=3)
    answer = await client.authorize(who, max_age="1")
    asks_to_sign_in(answer)
    await who.sign_in()
    flow = answer.headers["location"].partition("flow=")[2]
    code = callback(await who.get(f"/{issuer.caisse}/authorize/continue?flow={flow}"))["code"]
    claims = claims_of((await client.redeem(code)).json()["id_token"])
    assert claims["iat"] - claims["auth_time"] <= 1


async def test_oidcc_max_age_10000(client: Party, who: Somebody, issuer: Issuer) -> None:
    issuer.clock.forward(seconds=3)
    first = claims_of((await client.tokens(who))["id_token"])
    second = claims_of((await client.tokens(who, max_age="10000"))["id_token"])
    assert first["auth_time"] == second["auth_time"]


async def test_oidcc_ensure_request_with_unknown_parameter_succeeds(client: Party, who: Somebody) -> None:
    assert "code" in callback(await client.authorize(who, extra="foobar"))


async def test_oidcc_id_token_hint(client: Party, who: Somebody) -> None:
    hint = (await client.tokens(who))["id_token"]
    assert "code" in callback(await client.authorize(who, id_token_hint=hint, prompt="none"))


async def test_oidcc_id_token_hint_of_another_person(client: Party, who: Somebody, issuer: Issuer) -> None:
    hint = (await client.tokens(who))["id_token"]
    other = await (await issuer.person()).sign_in()
    assert (
        callback(await client.authorize(other, id_token_hint=hint, prompt="none"))["error"]
        == "login_required"
    )


async def test_oidcc_login_hint(client: Party, issuer: Issuer) -> None:
    stranger = await issuer.person()
    answer = await client.authorize(stranger, login_hint=stranger.email)
    asks_to_sign_in(answer)
    page = await stranger.get(answer.headers["location"])
    assert stranger.email in page.text


async def test_oidcc_ui_locales(client: Party, who: Somebody) -> None:
    assert "code" in callback(await client.authorize(who, ui_locales="se en fr"))


async def test_oidcc_claims_locales(client: Party, who: Somebody) -> None:
    assert "code" in callback(await client.authorize(who, claims_locales="se en fr"))


async def test_oidcc_ensure_request_with_acr_values_succeeds(client: Party, who: Somebody) -> None:
    tokens = await client.tokens(who, acr_values="1 2 pwd")
    assert claims_of(tokens["id_token"])["acr"] == "pwd"


async def test_oidcc_codereuse(client: Party, who: Somebody) -> None:
    code = await client.code(who)
    tokens = (await client.redeem(code)).json()
    again = await client.redeem(code)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    assert (await client.userinfo(tokens["access_token"])).status_code == 401


async def test_oidcc_codereuse_30seconds(client: Party, who: Somebody, issuer: Issuer) -> None:
    code = await client.code(who)
    tokens = (await client.redeem(code)).json()
    issuer.clock.forward(seconds=30)
    assert (await client.redeem(code)).json()["error"] == "invalid_grant"
    assert (await client.userinfo(tokens["access_token"])).status_code == 401


async def test_oidcc_ensure_registered_redirect_uri(client: Party, who: Somebody) -> None:
    reads_an_error_page(await client.authorize(who, redirect_uri="https://client.example/unregistered"))


async def test_oidcc_ensure_post_request_succeeds(client: Party, who: Somebody, issuer: Issuer) -> None:
    request = client.request(login_hint=who.email, claims='{"userinfo":{"name":null}}')
    again = await who.post(f"/{issuer.caisse}/authorize", request)
    address = dict(parse_qsl(urlsplit(again.headers["location"]).query))
    assert again.status_code == 303 and address.keys() == {"client_id", "request_uri"}
    assert "code" in callback(await who.get(again.headers["location"]))


async def test_oidcc_server_client_secret_post(who: Somebody, issuer: Issuer) -> None:
    client = await issuer.plain_client(token_endpoint_auth_method="client_secret_post")
    assert "id_token" in await client.tokens(who)


async def test_oidcc_request_uri_unsigned_supported_correctly_or_rejected_as_unsupported(
    client: Party, who: Somebody
) -> None:
    refused = callback(await client.authorize(who, request_uri="https://client.example/request.jwt"))
    assert refused["error"] == "request_uri_not_supported"


async def test_oidcc_unsigned_request_object_supported_correctly_or_rejected_as_unsupported(
    client: Party, who: Somebody
) -> None:
    unsigned = "eyJhbGciOiJub25lIn0.e30."
    answer = await client.authorize(who, request=unsigned)
    assert "request_not_supported" in (answer.headers.get("location", "") + answer.text)


async def test_oidcc_claims_essential(client: Party, who: Somebody) -> None:
    asked = json.dumps({"userinfo": {"name": {"essential": True}}})
    tokens = await client.tokens(who, claims=asked)
    assert (await client.userinfo(tokens["access_token"])).json()["name"] == "Camille Martin"


async def test_oidcc_ensure_request_object_with_redirect_uri(who: Somebody, issuer: Issuer) -> None:
    client = await issuer.client(profile="compat", token_endpoint_auth_method="private_key_jwt")
    inside = client.request() | {"iss": client.client_id, "aud": issuer.url}
    signed = sign_compact(client.key, {"kid": client.key.kid}, inside)
    outside = {"client_id": client.client_id, "response_type": "code", "scope": "openid", "request": signed}
    answer = await who.get(f"/{issuer.caisse}/authorize?" + "&".join(f"{k}={v}" for k, v in outside.items()))
    assert "code" in callback(answer)


async def test_oidcc_refresh_token(client: Party, who: Somebody, issuer: Issuer) -> None:
    tokens = await client.tokens(who, scope="openid email", nonce="n-2")
    issuer.clock.forward(seconds=2)
    answer = (await client.refresh(tokens["refresh_token"])).json()
    first, second = claims_of(tokens["id_token"]), claims_of(answer["id_token"])
    assert [first[n] for n in ("iss", "sub", "aud", "auth_time")] == [
        second[n] for n in ("iss", "sub", "aud", "auth_time")
    ]
    assert second["iat"] > first["iat"] and "nonce" not in second


async def test_oidcc_ensure_request_with_valid_pkce_succeeds(client: Party, who: Somebody) -> None:
    code = await client.code(who, code_challenge=client.challenge, code_challenge_method="S256")
    assert (await client.redeem(code, code_verifier=client.verifier)).status_code == 200

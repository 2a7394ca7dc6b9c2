"""JSON that a stranger may sign or post: bytes that are no text, U+0000, endless nesting. Refused, never a defect."""

from urllib.parse import urlencode

import httpx
import pytest

from libs.common.access.signatures import b64url
from tests.openid.party import ASSERTION, Issuer, Party, Somebody, callback

DEEP = b'{"a":' * 5000 + b"1" + b"}" * 5000
HOSTILE = [b"\xff", b'{"a":"\xff"}', b'{"sub":"\xff\xfe"}', b'{"sub":"a\\u0000"}', b"[]", b'"a"', b"", DEEP]


@pytest.fixture(scope="module")
async def client(issuer: Issuer) -> Party:
    return await issuer.client(profile="fapi")


@pytest.fixture
async def who(issuer: Issuer) -> Somebody:
    return await (await issuer.person()).sign_in()


def signed(client: Party, payload: bytes, header: bytes | None = None, limit: int = 12_000) -> str:
    """A JWS over bytes that are no claims; what would be too long for any reader is cut."""
    head = b64url((header or f'{{"alg":"ES256","kid":"{client.key.kid}"}}'.encode())[:limit])
    body = f"{head}.{b64url(payload[:limit])}"
    return f"{body}.{b64url(client.key.sign(body.encode()))}"


def jwts(client: Party, hostile: bytes) -> list[str]:
    """The hostile bytes as payload, and as header."""
    return [signed(client, hostile), signed(client, b"{}", header=hostile or b" ")]


def error_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda raw: ascii(raw[:20]))
async def test_an_assertion_that_is_no_json_is_no_client(client: Party, hostile: bytes) -> None:
    for jwt in jwts(client, hostile):
        said = {"client_assertion_type": ASSERTION, "client_assertion": jwt}
        for path in ("/token", "/par", "/introspect", "/revoke"):
            answer = await client.post(path, {"grant_type": "client_credentials"}, credentials=said)
            assert error_of(answer) == (401, "invalid_client"), path


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda raw: ascii(raw[:20]))
async def test_a_request_object_that_is_no_json_is_refused(
    issuer: Issuer, client: Party, hostile: bytes
) -> None:
    public = await issuer.client(token_endpoint_auth_method="none")
    for jwt in jwts(client, hostile):
        answer = await client.post("/par", {"request": jwt})
        assert error_of(answer) == (400, "invalid_request_object")
        async with issuer.http() as http:
            query = urlencode({"client_id": public.client_id, "request": jwt})
            page = await http.get(f"/{issuer.caisse}/authorize?{query}")
        assert page.status_code == 400


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda raw: ascii(raw[:20]))
async def test_a_proof_that_is_no_json_is_refused(client: Party, hostile: bytes) -> None:
    for jwt in jwts(client, hostile):
        answer = await client.post("/par", client.request(), proof=jwt)
        assert error_of(answer) == (400, "invalid_dpop_proof")


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda raw: ascii(raw[:20]))
async def test_a_token_or_a_hint_that_is_no_json_is_refused(
    issuer: Issuer, client: Party, hostile: bytes
) -> None:
    for jwt in jwts(client, hostile):
        assert (await client.userinfo(jwt)).status_code == 401
        assert (await client.post("/introspect", {"token": jwt})).json() == {"active": False}
        assert (await client.post("/revoke", {"token": jwt})).status_code == 200
        assert error_of(await client.push(id_token_hint=jwt)) == (400, "invalid_request")
        async with issuer.http() as http:
            assert (await http.get(f"/{issuer.caisse}/end-session?id_token_hint={jwt}")).status_code == 400


NOT_KEPT = '{"id_token":{"a":"\\u0000"}}'
ENDLESS = '{"id_token":{"a":' + '{"a":' * 2000 + "1" + "}" * 2002
CLAIMS = [
    NOT_KEPT,
    ENDLESS,
    '{"id_token":{"\\u0000":null}}',
    "[]",
    "{",
    '{"id_token":[]}',
    '{"id_token":{"a":1e999}}',
]


@pytest.mark.parametrize("claims", CLAIMS, ids=lambda text: text[:30])
async def test_claims_that_cannot_be_kept_are_refused_by_name(
    issuer: Issuer, client: Party, claims: str
) -> None:
    answer = await client.push(claims=claims)
    assert error_of(answer) == (400, "invalid_request")
    assert "claims" in answer.json()["error_description"]


@pytest.mark.parametrize("text", ['[{"type":"adherent","identifier":"a\\u0000"}]', "[" * 5000, '["\\u0000"]'])
async def test_details_that_cannot_be_kept_are_refused(client: Party, text: str) -> None:
    answer = await client.push(authorization_details=text)
    assert error_of(answer) == (400, "invalid_authorization_details")


async def test_a_request_object_that_holds_u0000_is_refused(client: Party) -> None:
    now = client.now()
    inside = {
        "iss": client.client_id,
        "aud": client.issuer.url,
        "exp": now + 60,
        "nbf": now,
        **client.request(),
    }
    from libs.common.access.signatures import sign_compact

    for name in ("state", "nonce", "login_hint", "ui_locales", "redirect_uri", "jti"):
        request = sign_compact(client.key, {"kid": client.key.kid}, {**inside, name: "a\x00b"})
        answer = await client.post("/par", {"request": request})
        assert error_of(answer) == (400, "invalid_request_object"), name


@pytest.mark.parametrize("field", ["login_hint", "state", "nonce", "ui_locales", "claims_locales", "x"])
async def test_u0000_in_a_form_is_refused_by_name(client: Party, field: str) -> None:
    answer = await client.push(**{field: "a\x00b"})
    assert error_of(answer) == (400, "invalid_request")
    assert field in answer.json()["error_description"]


ODD_ACR = [
    '{"values":[1,{}]}', '{"values":1}', '{"values":"mfa"}', '{"values":null}', '{"values":{"mfa":1}}',
    '{"values":[[]]}', '{"value":{}}', '{"value":[]}', '{"essential":true,"value":null}',
    '{"essential":true,"values":[{}]}', '{"essential":1}', "1", "[]",
]  # fmt: skip


@pytest.mark.parametrize("acr", ODD_ACR)
async def test_an_odd_acr_is_refused_by_name(client: Party, acr: str) -> None:
    answer = await client.push(claims=f'{{"id_token":{{"acr":{acr}}}}}')
    assert error_of(answer) == (400, "invalid_request")
    assert "acr" in answer.json()["error_description"]


async def test_a_very_large_number_among_the_claims_changes_nothing(client: Party, who: Somebody) -> None:
    claims = '{"id_token":{"email":{"value":' + "9" * 4000 + "}}}"
    assert "code" in callback(await client.authorize(who, claims=claims))

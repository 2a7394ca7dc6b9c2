"""Where authlib 1.9.9 departs from what we promise, our kernel does not (docs/reference/divergences.md).

The first half goes through HTTP, since it is about what reaches the kernel.
"""

import base64
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from msgspec.structs import replace

from libs.common.access.signatures import SigningKey, sign_compact
from services.identity.openid.clients import CODE
from services.identity.openid.refusals import InvalidRequest
from services.identity.openid.token import decide
from services.identity.openid.wire import LARGEST_FORM, MOST_PARAMETERS, parse_encoded, parse_form
from tests.openid.kernel import world
from tests.openid.party import ASSERTION, Issuer, Party, Somebody, callback

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
async def client(issuer: Issuer) -> Party:
    return await issuer.client()


@pytest.fixture
async def plain(issuer: Issuer) -> Party:
    return await issuer.plain_client()


@pytest.fixture
async def who(issuer: Issuer) -> Somebody:
    return await (await issuer.person()).sign_in()


async def raw(issuer: Issuer, path: str, body: bytes, **headers: str) -> httpx.Response:
    async with issuer.http() as http:
        return await http.post(f"/{issuer.caisse}{path}", content=body, headers=FORM | headers)


async def test_a_response_type_outside_ascii_is_an_error_not_a_defect(plain: Party, who: Somebody) -> None:
    query = urlencode(plain.request()).replace("response_type=code", "response_type=%C3%A9")
    assert (await who.get(f"/{plain.issuer.caisse}/authorize?{query}")).status_code == 400


async def test_a_quote_in_an_unregistered_redirect_uri_is_an_error_page(plain: Party, who: Somebody) -> None:
    answer = await plain.authorize(who, redirect_uri='https://evil.example/"')
    assert answer.status_code == 400 and "location" not in answer.headers


@pytest.mark.parametrize(
    "body",
    [b"grant_type=%22%C3%A9&code=x", b"grant_type=%ff", b"\xff\xfe", b"grant_type", b"=&=&", b"a" * 60000],
)
async def test_bytes_that_are_no_form_are_an_error_not_a_defect(issuer: Issuer, body: bytes) -> None:
    assert (await raw(issuer, "/token", body)).status_code in {400, 401}


async def test_a_basic_header_outside_utf8_is_an_error_not_a_defect(issuer: Issuer) -> None:
    header = "Basic " + base64.b64encode(b"\xff\xfe:x").decode()
    answer = await raw(issuer, "/token", b"grant_type=authorization_code&code=x", Authorization=header)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


@pytest.mark.parametrize("pair", [b"", b":secret", b"client", "é:secret".encode()])
async def test_a_basic_header_without_its_two_halves_proves_nobody(issuer: Issuer, pair: bytes) -> None:
    """RFC 7617 §2, RFC 6749 §2.3.1."""
    header = "Basic " + base64.b64encode(pair).decode()
    body = b"grant_type=authorization_code&code=x&client_id=client"
    answer = await raw(issuer, "/token", body, Authorization=header)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


@pytest.mark.parametrize("subject", [5, ["a"], None, ""])
async def test_an_assertion_names_a_client_in_words(client: Party, subject: Any) -> None:
    form = {"grant_type": CODE, "code": "x"}
    said = {"client_assertion_type": ASSERTION, "client_assertion": client.assertion(sub=subject)}
    answer = await client.post("/token", form, credentials=said)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


@pytest.mark.parametrize("said", [None, "", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"])
async def test_an_assertion_says_what_it_is(client: Party, who: Somebody, said: str | None) -> None:
    """RFC 7521 §4.2: the type is required, and ours is RFC 7523's."""
    code = await client.code(who)
    named = {} if said is None else {"client_assertion_type": said}
    form = {"grant_type": CODE, "code": code, "redirect_uri": client.metadata.redirect_uris[0],
            "code_verifier": client.verifier}  # fmt: skip
    answer = await client.post("/token", form, credentials={"client_assertion": client.assertion(), **named})
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


@pytest.mark.parametrize(
    "pair",
    [
        ("x" * 65, "1"),
        ('a"b', "1"),
        ("é", "1"),
        ("login_hint", "a\nb"),
        ("ui_locales", "fr\x00"),
        ("state", "\x7f"),
    ],
    ids=repr,
)
def test_a_parameter_s_name_and_value_are_of_plain_characters(pair: tuple[str, str]) -> None:
    """RFC 6749 §5.2, appendix A: what is refused is quoted, and what is kept is shown."""
    with pytest.raises(InvalidRequest):
        parse_encoded(urlencode([pair]).encode())


@pytest.mark.parametrize("said", ["", "text/plain", "application/json", "multipart/form-data; boundary=b"])
def test_a_body_that_says_another_type_is_no_form(said: str) -> None:
    """RFC 6749 §4.1.3: what another site's page can make a browser send as text is not read as a form."""
    with pytest.raises(InvalidRequest):
        parse_form(said, b"grant_type=client_credentials")


def test_a_request_has_a_size_limit_and_few_parameters() -> None:
    """Before it is taken apart, whoever let it in."""
    for large in ("state=" + "x" * LARGEST_FORM, "&".join(f"p{n}=1" for n in range(MOST_PARAMETERS + 1))):
        with pytest.raises(InvalidRequest):
            parse_encoded(large.encode())


async def test_a_doubled_token_parameter_is_refused(plain: Party, who: Somebody) -> None:
    code = await plain.code(who)
    body = urlencode([("grant_type", CODE), ("code", code), ("code", "other"),
                      ("redirect_uri", plain.metadata.redirect_uris[0])])  # fmt: skip
    pair = base64.b64encode(f"{plain.client_id}:{plain.secret}".encode()).decode()
    answer = await raw(plain.issuer, "/token", body.encode(), Authorization=f"Basic {pair}")
    assert answer.json()["error"] == "invalid_request"
    assert (await plain.redeem(code)).status_code == 200


async def test_two_methods_of_client_authentication_are_refused(plain: Party, who: Somebody) -> None:
    code = await plain.code(who)
    answer = await plain.redeem(code, client_id=plain.client_id, client_secret="WRONG")
    assert answer.json()["error"] == "invalid_request"


async def test_a_body_client_id_that_differs_from_the_basic_one_is_refused(
    plain: Party, who: Somebody
) -> None:
    answer = await plain.redeem(await plain.code(who), client_id="someoneelse")
    assert answer.json()["error"] == "invalid_client"


async def test_a_code_verifier_alone_or_missing_is_invalid_grant(client: Party, who: Somebody) -> None:
    """authlib answers invalid_request."""
    assert (await client.redeem(await client.code(who), code_verifier=None)).json()[
        "error"
    ] == "invalid_grant"


@pytest.mark.parametrize("hint", ["foo", "refresh_token", "id_token"])
async def test_an_unknown_or_wrong_token_type_hint_is_ignored(
    client: Party, who: Somebody, hint: str
) -> None:
    token = (await client.tokens(who))["access_token"]
    assert (await client.post("/revoke", {"token": token, "token_type_hint": hint})).status_code == 200
    assert (await client.post("/introspect", {"token": token, "token_type_hint": hint})).json() == {
        "active": False
    }


async def test_an_id_token_is_no_access_token(client: Party, who: Somebody) -> None:
    """`typ` is checked: authlib's validator leaves it unread."""
    id_token = (await client.tokens(who))["id_token"]
    assert (await client.userinfo(id_token)).status_code == 401
    assert (await client.post("/introspect", {"token": id_token})).json() == {"active": False}


async def test_redirects_are_303_where_authlib_says_302(client: Party, who: Somebody) -> None:
    assert (await client.authorize(who)).status_code == 303


@pytest.mark.parametrize("response_type", ["code", "code code"])
async def test_a_doubled_response_type_word_is_another_type(
    plain: Party, who: Somebody, response_type: str
) -> None:
    answer = await plain.authorize(who, response_type=response_type)
    if response_type != "code":
        assert callback(answer)["error"] == "unsupported_response_type"


# The pure half.


@pytest.mark.parametrize("algorithm", ["ES256", "PS256", "EdDSA"])
def test_assertions_of_every_fapi_algorithm_are_accepted(algorithm: Any) -> None:
    """authlib knows neither PS256 nor EdDSA here."""
    key = SigningKey.generate(algorithm)
    client = world.client(jwks={"keys": [key.published_jwk()]})
    now = int(world.NOW.timestamp())
    claims = {"iss": "client_1", "sub": "client_1", "aud": world.URL, "exp": now + 60, "jti": "j"}
    asked = world.asked(CODE, client_assertion=sign_compact(key, {"kid": key.kid}, claims))
    assert decide(asked, world.whole_snapshot(client=client)).answer.status == 200


@pytest.mark.parametrize(
    "wrong",
    [
        {"exp": int(world.NOW.timestamp()) + 10**8},
        {"aud": [world.URL, "https://evil.example"]},
        {"aud": [world.URL]},
        {"aud": world.URL + "/token"},
        {"jti": None},
        {"jti": 7},
        {"jti": ""},
        {"jti": "j" * 257},
        {"exp": "soon"},
        {"exp": None},
        {"exp": 10**400},
        {"iss": "other"},
        {"nbf": int(world.NOW.timestamp()) + 31},
        {"iat": int(world.NOW.timestamp()) + 31},
        {"exp": int(world.NOW.timestamp()) - 30},
    ],
    ids=lambda wrong: str(wrong)[:40],
)
def test_long_lived_and_ambiguous_assertions_are_refused(wrong: dict[str, Any]) -> None:
    """authlib accepts three years and several audiences."""
    asked = world.asked(CODE, client_assertion=world.assertion(**wrong))
    answer = decide(asked, world.whole_snapshot()).answer
    assert answer.status == 401


def test_an_assertion_proves_the_client_that_it_names() -> None:
    """RFC 7523 §3: whoever was looked for, and whoever was found."""
    snapshot, asked = world.whole_snapshot(), world.asked(CODE)
    assert asked.credentials is not None
    other = replace(asked.credentials, proof=world.assertion(sub="client_2"))
    assert decide(replace(asked, credentials=other), snapshot).answer.status == 401
    found = replace(snapshot, client=replace(world.client(), client_id="client_2"))
    assert decide(asked, found).answer.status == 401
    assert decide(asked, replace(snapshot, client=None)).answer.status == 401


@pytest.mark.parametrize(
    "header",
    [
        {"jwk": 1},
        {"jku": 1},
        {"x5u": 1},
        {"kid": "../../etc/passwd"},
        {"kid": "' OR 1=1"},
        {"crit": ["b64"]},
        {"alg": "none"},
    ],
)
def test_a_header_never_chooses_the_key(header: dict[str, Any]) -> None:
    """openid.md §4: header key injection, `kid` injection, `crit` ignored."""
    stranger = world.keys()["other"]
    values = {"jwk": stranger.public_jwk, "jku": "https://evil.example/jwks", "x5u": "https://evil.example/x"}
    said = {name: values.get(name, value) for name, value in header.items()}
    now = int(world.NOW.timestamp())
    claims = {"iss": "client_1", "sub": "client_1", "aud": world.URL, "exp": now + 60, "jti": "j"}
    asked = world.asked(CODE, client_assertion=sign_compact(stranger, said, claims))
    assert decide(asked, world.whole_snapshot()).answer.status == 401
    if "crit" in header or "kid" in header:
        own = sign_compact(world.keys()["client"], said, claims)
        assert decide(world.asked(CODE, client_assertion=own), world.whole_snapshot()).answer.status == 401


def test_a_dpop_proof_with_a_large_rsa_key_is_read() -> None:
    """joserfc refuses headers over 512 bytes."""
    from cryptography.hazmat.primitives.asymmetric import rsa

    from libs.common.access.dpop import dpop_proof, verify_proof

    key = SigningKey("PS256", rsa.generate_private_key(65537, 4096))
    proof = dpop_proof(key, "POST", f"{world.URL}/token", clock=world.NOW.timestamp)
    assert verify_proof((proof,), method="POST", url=f"{world.URL}/token", now=world.NOW).jkt == key.kid


def test_checks_run_in_the_order_they_are_written() -> None:
    """authlib's hooks are sets: their order changes from run to run. Ours are tuples."""
    from services.identity.openid import (
        authorization_request,
        code_grant,
        refresh_grant,
        steps,
        token_exchange,
    )

    for checks in (authorization_request.CHECKS, code_grant.OF_THE_CODE, code_grant.OF_THE_BINDING,
                   refresh_grant.CHECKS, token_exchange.OF_A_PERSON, token_exchange.OF_A_MACHINE,
                   steps.STEPS):  # fmt: skip
        assert isinstance(checks, tuple)

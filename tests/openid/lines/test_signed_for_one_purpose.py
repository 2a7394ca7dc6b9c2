"""Signed JWTs of clients serve the one purpose they were signed for (openid.md lines 11, 25; RFC 8725 §3.11)."""

from typing import Any
from urllib.parse import urlencode

import httpx
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from libs.common.access.signatures import SigningKey, sign_compact
from services.identity.openid.client_rules import InvalidClientMetadata, check_metadata
from services.identity.openid.clients import ClientMetadata
from services.identity.openid.report import departures
from tests.openid.party import ASSERTION, Issuer, Party, Somebody, callback, claims_of


def request_object(client: Party, *, drop: tuple[str, ...] = (), typ: Any = None, **claims: Any) -> str:
    now = client.now()
    inside = {
        "iss": client.client_id, "aud": client.issuer.url, "exp": now + 300, "nbf": now,
        **client.request(), **claims,
    }  # fmt: skip
    header = {"kid": client.key.kid, **({} if typ is None else {"typ": typ})}
    return sign_compact(client.key, header, {name: said for name, said in inside.items() if name not in drop})


async def by_value(client: Party, who: Somebody, signed: str, **outside: str) -> httpx.Response:
    """A `compat` client's plain authorization request."""
    query = {
        "client_id": client.client_id,
        "response_type": "code",
        "scope": "openid",
        "request": signed,
        **outside,
    }
    return await who.get(f"/{client.issuer.caisse}/authorize?{urlencode(query)}")


@pytest.fixture
async def plain(issuer: Issuer) -> Party:
    return await issuer.client(profile="compat", token_endpoint_auth_method="private_key_jwt")


@pytest.mark.parametrize("missing", ["iss", "aud", "exp", "nbf", "client_id"])
async def test_line_25_a_request_object_says_all_five_but_in_compat(
    client: Party, plain: Party, who: Somebody, missing: str
) -> None:
    """RFC 9101 §6.2, §6.3, FAPI 2.0 Message Signing §5.3.1."""
    pushed = await client.post("/par", {"request": request_object(client, drop=(missing,))})
    assert (pushed.status_code, pushed.json()["error"]) == (400, "invalid_request_object")
    signed = request_object(plain, drop=(missing,))
    assert "code" in callback(await by_value(plain, who, signed))


@pytest.mark.parametrize(
    "wrong",
    [
        {"aud": "https://another.example"}, {"aud": []}, {"aud": {}}, {"aud": None}, {"iss": "another"}, {"iss": None},
        {"client_id": "another"}, {"client_id": None},
        {"nbf": 86400}, {"iat": 86400}, {"exp": -86400}, {"exp": 86400}, {"nbf": "now"}, {"exp": None}, {"exp": True},
    ],
    ids=str,
)  # fmt: skip
async def test_line_25_what_a_request_object_says_is_true_in_compat_too(
    plain: Party, client: Party, who: Somebody, wrong: dict[str, Any]
) -> None:
    """A `compat` client may leave the five out; a wrong value is never an absent one."""
    dates = {"exp", "nbf", "iat"}
    for one in (plain, client):
        said = {n: one.now() + v if n in dates and type(v) is int else v for n, v in wrong.items()}
        for more in ((), ("exp",), ("nbf",)):
            signed = request_object(one, drop=tuple(set(more) - wrong.keys()), **said)
            if one is client:
                assert (await one.post("/par", {"request": signed})).json()[
                    "error"
                ] == "invalid_request_object"
            else:
                page = await by_value(one, who, signed)
                assert page.status_code == 400 and "invalid_request_object" in page.text, more


@pytest.mark.parametrize(
    "typ", ["oauth-authz-req+jwt", "application/oauth-authz-req+JWT", "at+jwt", "dpop+jwt", 5]
)
async def test_a_request_object_is_no_client_assertion(client: Party, typ: Any) -> None:
    now = client.now()
    said: dict[str, Any] = {"sub": client.client_id, "jti": "one", "exp": now + 60}
    for assertion in (
        request_object(client, typ=typ, **said),
        client.assertion(header={"kid": client.key.kid, "typ": typ}),
    ):
        credentials = {"client_assertion_type": ASSERTION, "client_assertion": assertion}
        answer = await client.post("/introspect", {"token": "x"}, credentials=credentials)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


@pytest.mark.parametrize("typ", [None, "JWT", "jwt", "application/jwt", "client-authentication+jwt"])
async def test_an_assertion_may_say_that_it_is_a_jwt(client: Party, typ: str | None) -> None:
    header = {"kid": client.key.kid, **({} if typ is None else {"typ": typ})}
    credentials = {"client_assertion_type": ASSERTION, "client_assertion": client.assertion(header=header)}
    assert (await client.post("/introspect", {"token": "x"}, credentials=credentials)).status_code == 200


@pytest.mark.parametrize(
    ("typ", "status"),
    [(None, 201), ("JWT", 201), ("oauth-authz-req+jwt", 201), ("application/oauth-authz-req+jwt", 201),
     ("client-authentication+jwt", 400), ("dpop+jwt", 400), ("at+jwt", 400), ([], 400)],
)  # fmt: skip
async def test_only_a_request_object_is_one(client: Party, typ: Any, status: int) -> None:
    pushed = await client.post("/par", {"request": request_object(client, typ=typ)})
    assert pushed.status_code == status, pushed.text


async def test_a_null_in_a_request_object_is_a_parameter_left_out(client: Party, who: Somebody) -> None:
    """RFC 6749 §3.1: without a value, as if it were not there; never the word."""
    left_out = (
        "state",
        "nonce",
        "login_hint",
        "prompt",
        "max_age",
        "claims",
        "resource",
        "display",
        "acr_values",
    )
    nothing: dict[str, Any] = dict.fromkeys(left_out)
    pushed = await client.post("/par", {"request": request_object(client, **nothing)})
    query = urlencode({"client_id": client.client_id, "request_uri": pushed.json()["request_uri"]})
    answer = callback(await who.get(f"/{client.issuer.caisse}/authorize?{query}"))
    assert answer.keys() == {"code", "iss"}
    assert "nonce" not in claims_of((await client.redeem(answer["code"])).json()["id_token"])
    for required in ("redirect_uri", "response_type", "code_challenge"):
        without: dict[str, Any] = {required: None}
        refused = await client.post("/par", {"request": request_object(client, **without)})
        assert refused.json()["error"] == "invalid_request", required


# A request object that is not taken (OpenID Connect Core §3.1.2.6)


@pytest.mark.parametrize(
    ("signed", "error"),
    [("eyJhbGciOiJub25lIn0.e30.", "request_not_supported"), ("e30.e30.AA", "invalid_request_object"),
     ("x", "invalid_request_object")],
)  # fmt: skip
async def test_a_request_object_that_is_not_taken_is_told_to_the_client(
    issuer: Issuer, public: Party, who: Somebody, signed: str, error: str
) -> None:
    told = callback(await public.authorize(who, request=signed, state="outside"))
    assert (told["error"], told["state"], told["iss"]) == (error, "outside", issuer.url)


async def test_nobody_is_told_at_an_address_that_is_not_registered(public: Party, who: Somebody) -> None:
    """openid.md line 2: without an address of its own outside, or with another's, there is only a page."""
    for wrong in (None, "https://evil.example/cb"):
        page = await public.authorize(who, request="x", redirect_uri=wrong)
        assert page.status_code == 400 and "location" not in page.headers
        assert "invalid_request_object" in page.text


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_pushed_request_and_one_by_value_exclude_each_other(
    client: Party, who: Somebody, method: str
) -> None:
    """RFC 9101 §5, of a `request_uri` of ours too; the pushed request waits for who asks properly."""
    pushed = (await client.push()).json()["request_uri"]
    said = {"client_id": client.client_id, "request_uri": pushed}
    both, address = {**said, "request": request_object(client)}, f"/{client.issuer.caisse}/authorize"
    page = await (who.get(f"{address}?{urlencode(both)}") if method == "GET" else who.post(address, both))
    assert page.status_code == 400 and "invalid_request" in page.text and "location" not in page.headers
    assert "code" in callback(await who.get(f"{address}?{urlencode(said)}"))


# Algorithms of what we sign, and of what is signed for us


@pytest.mark.parametrize(("profile", "status"), [("fapi", 400), ("standard", 201)])
async def test_line_12_fapi_s_request_objects_are_not_signed_with_rs256(
    issuer: Issuer, profile: str, status: int
) -> None:
    """One key of RSA and two names of algorithms: the client's own assertion says the other."""
    private = rsa.generate_private_key(65537, 2048)
    key = SigningKey("RS256", private)
    jwk = {name: value for name, value in key.published_jwk().items() if name != "alg"}
    client = await issuer.client(profile=profile, key=SigningKey("PS256", private), jwks={"keys": [jwk]})
    now = client.now()
    inside = {"iss": client.client_id, "aud": issuer.url, "exp": now + 300, "nbf": now, **client.request()}
    for signer, expected in ((key, status), (client.key, 201)):
        pushed = await client.post("/par", {"request": sign_compact(signer, {"kid": key.kid}, inside)})
        assert pushed.status_code == expected, pushed.text


def test_line_12_fapi_has_nothing_signed_with_rs256() -> None:
    key = SigningKey.generate()
    metadata = ClientMetadata(
        client_name="x", profile="fapi", redirect_uris=("https://a.example/cb",),
        jwks={"keys": [key.published_jwk()]}, token_endpoint_auth_signing_alg="ES256",
    )  # fmt: skip
    check_metadata(metadata)
    assert "signe ou fait signer en RS256" not in {line.what for line in departures(metadata)}
    named = [name for name in ClientMetadata.__struct_fields__ if name.endswith("_alg")]
    assert len(named) >= 5
    for name in named:
        weak = msgspec.structs.replace(metadata, **{name: "RS256"})
        with pytest.raises(InvalidClientMetadata):
            check_metadata(weak)
        standard = msgspec.structs.replace(weak, profile="standard")
        check_metadata(standard)
        assert "signe ou fait signer en RS256" in {line.what for line in departures(standard)}, name

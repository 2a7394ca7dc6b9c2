"""FAPI 2.0 Security Profile, private_key_jwt and DPoP: one test per judged module (openid.md §6).

Names are those of the modules without `fapi2-security-profile-final-`.
"""

from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest

from libs.common.access.signatures import SigningKey, sign_compact
from tests.openid.party import Issuer, Party, Somebody, callback, claims_of


@pytest.fixture
async def client(issuer: Issuer) -> Party:
    return await issuer.client(profile="fapi")


@pytest.fixture
async def second(issuer: Issuer) -> Party:
    return await issuer.client(profile="fapi")


@pytest.fixture
async def who(issuer: Issuer) -> Somebody:
    return await (await issuer.person()).sign_in()


def refused(answer: httpx.Response, *errors: str, status: int = 400) -> None:
    assert (answer.status_code, answer.json()["error"] in errors) == (status, True), answer.text


async def discovered(issuer: Issuer) -> dict[str, Any]:
    async with issuer.http() as http:
        return (await http.get(f"/{issuer.caisse}/.well-known/openid-configuration")).json()


def signed_request(client: Party, **changes: Any) -> str:
    now = client.now()
    said: dict[str, Any] = {"iss": client.client_id, "aud": client.issuer.url, "exp": now + 300, "nbf": now}
    said |= client.request() | changes
    return sign_compact(client.key, {"kid": client.key.kid, "typ": "oauth-authz-req+jwt"},
                        {n: v for n, v in said.items() if v is not None})  # fmt: skip


async def follow(client: Party, who: Somebody, pushed: httpx.Response) -> httpx.Response:
    query = urlencode({"client_id": client.client_id, "request_uri": pushed.json()["request_uri"]})
    return await who.get(f"/{client.issuer.caisse}/authorize?{query}")


async def test_discovery_end_point_verification(issuer: Issuer) -> None:
    told = await discovered(issuer)
    assert told["issuer"] == issuer.url
    assert told["authorization_response_iss_parameter_supported"] is True
    assert "private_key_jwt" in told["token_endpoint_auth_methods_supported"]
    assert {"ES256", "PS256", "EdDSA"} <= set(told["dpop_signing_alg_values_supported"])
    assert told["code_challenge_methods_supported"] == ["S256"]
    assert told["pushed_authorization_request_endpoint"].startswith("https://")


async def test_happy_flow(client: Party, who: Somebody) -> None:
    tokens = await client.tokens(who, nonce="n")
    assert tokens["token_type"] == "DPoP" and claims_of(tokens["id_token"])["nonce"] == "n"
    assert (await client.userinfo(tokens["access_token"])).status_code == 200


async def test_user_rejects_authentication(issuer: Issuer, who: Somebody) -> None:
    client = await issuer.client(profile="fapi", consent="explicit")
    page = await client.authorize(who)
    answer = callback(await who.submit(page, choice="refuse"))
    assert (answer["error"], answer["iss"]) == ("access_denied", issuer.url)


async def test_ensure_authorization_request_without_state_success(client: Party, who: Somebody) -> None:
    assert "state" not in callback(await client.authorize(who, state=None))


async def test_ensure_authorization_request_without_nonce_success(client: Party, who: Somebody) -> None:
    assert "nonce" not in claims_of((await client.tokens(who, nonce=None))["id_token"])


async def test_ensure_authorization_request_with_64_char_nonce_success(client: Party, who: Somebody) -> None:
    assert claims_of((await client.tokens(who, nonce="n" * 64))["id_token"])["nonce"] == "n" * 64


async def test_ensure_authorization_request_with_long_nonce(client: Party, who: Somebody) -> None:
    assert claims_of((await client.tokens(who, nonce="n" * 384))["id_token"])["nonce"] == "n" * 384


async def test_ensure_authorization_request_with_long_state(client: Party, who: Somebody) -> None:
    assert callback(await client.authorize(who, state="s" * 384))["state"] == "s" * 384


async def test_ensure_other_scope_order_succeeds(client: Party, who: Somebody) -> None:
    assert "id_token" in await client.tokens(who, scope="email openid")


async def test_test_claims_parameter_identity_claims(client: Party, who: Somebody) -> None:
    asked = '{"id_token":{"email":null},"userinfo":{"name":null}}'
    tokens = await client.tokens(who, claims=asked)
    assert claims_of(tokens["id_token"])["email"] == who.email
    assert (await client.userinfo(tokens["access_token"])).json()["name"] == "Camille Martin"


async def test_access_token_type_header_case_sensitivity(client: Party, who: Somebody) -> None:
    token = (await client.tokens(who))["access_token"]
    for scheme in ("DPoP", "dpop", "DPOP"):
        assert (await client.userinfo(token, scheme=scheme)).status_code == 200


async def proof_with(client: Party, path: str = "/token", **claims: Any) -> str:
    said: dict[str, Any] = {"jti": "j" + str(client.now()) + str(claims), "htm": "POST",
                            "htu": client.issuer.url + path, "iat": client.now()}  # fmt: skip
    said |= claims
    header = {"typ": "dpop+jwt", "jwk": client.dpop.public_jwk}
    return sign_compact(client.dpop, header, {n: v for n, v in said.items() if v is not None})


async def test_check_dpop_proof_nbf_exp(client: Party, who: Somebody) -> None:
    now = client.now()
    good = await client.redeem(await client.code(who), proof=await proof_with(client, nbf=now, exp=now + 60))
    assert good.status_code == 200
    wrongs: list[dict[str, Any]] = [{"exp": now - 120}, {"nbf": now + 120}]
    for wrong in wrongs:
        answer = await client.redeem(await client.code(who), proof=await proof_with(client, **wrong))
        refused(answer, "invalid_dpop_proof")


async def test_ensure_dpopproof_with_iat_10seconds_before_succeeds(client: Party, who: Somebody) -> None:
    proof = await proof_with(client, iat=client.now() - 10)
    assert (await client.redeem(await client.code(who), proof=proof)).status_code == 200


async def test_ensure_dpopproof_with_iat_10seconds_after_succeeds(client: Party, who: Somebody) -> None:
    proof = await proof_with(client, iat=client.now() + 10)
    assert (await client.redeem(await client.code(who), proof=proof)).status_code == 200


async def test_ensure_mismatched_dpop_jkt_fails(client: Party) -> None:
    other = SigningKey.generate("ES256")
    refused(await client.push(dpop_jkt=other.kid), "invalid_request")


async def test_ensure_token_endpoint_fails_with_mismatched_dpop_proof_jkt(
    client: Party, who: Somebody
) -> None:
    code = await client.code(who)
    client.dpop = SigningKey.generate("ES256")
    refused(await client.redeem(code), "invalid_grant", "invalid_dpop_proof")


async def test_ensure_token_endpoint_fails_with_mismatched_dpop_jkt(client: Party, who: Somebody) -> None:
    pushed = await client.post("/par", client.request(dpop_jkt=client.dpop.kid), proof=None)
    code = callback(await follow(client, who, pushed))["code"]
    client.dpop = SigningKey.generate("ES256")
    refused(await client.redeem(code), "invalid_grant", "invalid_dpop_proof")


async def test_ensure_token_endpoint_fails_with_expired_auth_code(client: Party, who: Somebody) -> None:
    code = await client.code(who)
    client.issuer.clock.forward(seconds=61)
    refused(await client.redeem(code), "invalid_grant")


async def test_ensure_dpopproof_at_par_endpoint_binding_success(client: Party, who: Somebody) -> None:
    pushed = await client.push()
    assert (await client.redeem(callback(await follow(client, who, pushed))["code"])).status_code == 200


async def test_ensure_dpop_auth_code_binding_success(client: Party, who: Somebody) -> None:
    pushed = await client.post("/par", client.request(dpop_jkt=client.dpop.kid), proof=None)
    assert (await client.redeem(callback(await follow(client, who, pushed))["code"])).status_code == 200


async def test_ensure_different_nonce_inside_and_outside_request_object(client: Party, who: Somebody) -> None:
    pushed = await client.post(
        "/par", {"request": signed_request(client, nonce="inside"), "nonce": "outside"}
    )
    code = callback(await follow(client, who, pushed))["code"]
    assert claims_of((await client.redeem(code)).json()["id_token"])["nonce"] == "inside"


async def test_ensure_different_state_inside_and_outside_request_object(client: Party, who: Somebody) -> None:
    pushed = await client.post(
        "/par", {"request": signed_request(client, state="inside"), "state": "outside"}
    )
    assert callback(await follow(client, who, pushed))["state"] == "inside"


async def test_state_only_outside_request_object_not_used(client: Party, who: Somebody) -> None:
    pushed = await client.post("/par", {"request": signed_request(client, state=None), "state": "outside"})
    assert "state" not in callback(await follow(client, who, pushed))


async def test_ensure_request_object_without_redirect_uri_fails(client: Party) -> None:
    inside = signed_request(client, redirect_uri=None)
    answer = await client.post("/par", {"request": inside, "redirect_uri": "https://client.example/cb"})
    refused(answer, "invalid_request", "invalid_request_object")


async def test_plain_fapi_tolerate_unregistered_redirect_uri(client: Party) -> None:
    """RFC 9126 §2.4 lets a server accept it; we refuse, which the module allows."""
    refused(await client.push(redirect_uri="https://client.example/unregistered"), "invalid_request")


async def test_ensure_unsigned_authorization_request_without_using_par_fails(
    client: Party, who: Somebody
) -> None:
    answer = await who.get(f"/{client.issuer.caisse}/authorize?{urlencode(client.request())}")
    assert callback(answer)["error"] == "invalid_request"


async def test_ensure_redirect_uri_in_authorization_request(client: Party) -> None:
    refused(await client.push(redirect_uri=None), "invalid_request")


async def test_ensure_response_type_code_idtoken_fails(client: Party) -> None:
    refused(await client.push(response_type="code id_token"), "unsupported_response_type")


async def test_ensure_response_type_token_fails(client: Party) -> None:
    refused(await client.push(response_type="token"), "unsupported_response_type")


async def test_ensure_client_id_in_token_endpoint(client: Party, second: Party, who: Somebody) -> None:
    """A body `client_id` of another client is refused; the assertion's own is accepted."""
    code = await client.code(who)
    refused(await client.redeem(code, client_id=second.client_id), "invalid_client", status=401)
    assert (await client.redeem(code, client_id=client.client_id)).status_code == 200


async def test_ensure_holder_of_key_required(client: Party, who: Somebody) -> None:
    refused(await client.redeem(await client.code(who), proof=None), "invalid_dpop_proof", "invalid_grant")


async def test_ensure_authorization_code_is_bound_to_client(
    client: Party, second: Party, who: Somebody
) -> None:
    code = await client.code(who)
    refused(await second.redeem(code, code_verifier=client.verifier), "invalid_grant")


async def test_attempt_reuse_authorization_code_after_one_second(client: Party, who: Somebody) -> None:
    code = await client.code(who)
    tokens = (await client.redeem(code)).json()
    client.issuer.clock.forward(seconds=1)
    refused(await client.redeem(code), "invalid_grant")
    assert (await client.userinfo(tokens["access_token"])).status_code == 401


async def test_ensure_signed_client_assertion_with_rs256_fails(issuer: Issuer) -> None:
    key = SigningKey.generate("RS256")
    jwk = {name: value for name, value in key.published_jwk().items() if name != "alg"}
    client = await issuer.client(profile="fapi", key=key, jwks={"keys": [jwk]})
    refused(await client.push(), "invalid_client", status=401)


async def test_ensure_client_assertion_in_token_endpoint(client: Party, who: Somebody) -> None:
    code = await client.code(who)
    form = {"grant_type": "authorization_code", "code": code, "client_id": client.client_id,
            "redirect_uri": client.metadata.redirect_uris[0], "code_verifier": client.verifier}  # fmt: skip
    refused(await client.post("/token", form, credentials={}), "invalid_client", status=401)


async def with_assertion(client: Party, **changes: Any) -> httpx.Response:
    said = {"client_assertion_type": client.credentials()["client_assertion_type"],
            "client_assertion": client.assertion(**changes)}  # fmt: skip
    return await client.post("/par", client.request(), credentials=said)


async def test_ensure_client_assertion_with_exp_is_5_minutes_in_past_fails(client: Party) -> None:
    refused(await with_assertion(client, exp=client.now() - 300), "invalid_client", status=401)


async def test_ensure_client_assertion_with_wrong_aud_fails(client: Party) -> None:
    refused(await with_assertion(client, aud="https://elsewhere.example"), "invalid_client", status=401)


async def test_ensure_client_assertion_with_no_sub_fails(client: Party) -> None:
    refused(await with_assertion(client, drop=("sub",)), "invalid_client", status=401)


@pytest.mark.parametrize(
    "wrong",
    [{"htm": "GET"}, {"htu": "https://elsewhere.example/token"}, {"iat": 1}, {"jti": None}, {"htm": None}],
)
async def test_dpop_negative_tests(client: Party, who: Somebody, wrong: dict[str, Any]) -> None:
    code = await client.code(who)
    refused(await client.redeem(code, proof=await proof_with(client, **wrong)), "invalid_dpop_proof")


async def test_dpop_negative_tests_of_the_header(client: Party, who: Somebody) -> None:
    claims = {"jti": "j", "htm": "POST", "htu": f"{client.issuer.url}/token", "iat": client.now()}
    private = {**client.dpop.public_jwk, "d": client.dpop.public_jwk["x"]}
    headers: list[dict[str, Any]] = [
        {"typ": "jwt", "jwk": client.dpop.public_jwk},
        {"typ": "dpop+jwt", "jwk": private},
        {"typ": "dpop+jwt"},
        {"typ": "dpop+jwt", "jwk": SigningKey.generate("ES256").public_jwk},
    ]
    for header in headers:
        answer = await client.redeem(await client.code(who), proof=sign_compact(client.dpop, header, claims))
        refused(answer, "invalid_dpop_proof")


async def test_dpop_proof_is_good_once(client: Party, who: Somebody) -> None:
    proof = client.proof("/token")
    assert (await client.redeem(await client.code(who), proof=proof)).status_code == 200
    refused(await client.redeem(await client.code(who), proof=proof), "invalid_dpop_proof")


async def test_refresh_token(client: Party, who: Somebody) -> None:
    """Not rotated for a confidential client, and refused without a proof."""
    tokens = await client.tokens(who)
    first = await client.refresh(tokens["refresh_token"])
    assert first.status_code == 200 and "refresh_token" not in first.json()
    assert (await client.refresh(tokens["refresh_token"])).status_code == 200
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    refused(await client.post("/token", form, proof=None), "invalid_dpop_proof")


async def test_ensure_pkce_code_verifier_required(client: Party, who: Somebody) -> None:
    refused(await client.redeem(await client.code(who), code_verifier=None), "invalid_grant")


async def test_incorrect_pkce_code_verifier_rejected(client: Party, who: Somebody) -> None:
    refused(await client.redeem(await client.code(who), code_verifier="w" * 64), "invalid_grant")


# par-


async def test_par_ensure_reused_request_uri_prior_to_auth_completion_succeeds(
    client: Party, issuer: Issuer
) -> None:
    stranger = await issuer.person()
    pushed = await client.push()
    assert "/sign-in" in (await follow(client, stranger, pushed)).headers["location"]
    await stranger.sign_in()
    assert "code" in callback(await follow(client, stranger, pushed))


async def test_par_attempt_reuse_request_uri(client: Party, who: Somebody) -> None:
    pushed = await client.push()
    assert "code" in callback(await follow(client, who, pushed))
    again = await follow(client, who, pushed)
    assert again.status_code == 400 and "Cette connexion est déjà terminée" in again.text


async def test_par_attempt_to_use_expired_request_uri(client: Party, who: Somebody) -> None:
    pushed = await client.push()
    client.issuer.clock.forward(seconds=pushed.json()["expires_in"] + 1)
    await who.sign_in()
    answer = await follow(client, who, pushed)
    assert answer.status_code == 400 and "invalid_request_uri" in answer.text


async def test_par_attempt_to_use_request_uri_for_different_client(
    client: Party, second: Party, who: Somebody
) -> None:
    answer = await follow(second, who, await client.push())
    assert answer.status_code == 400 and "invalid_request_uri" in answer.text


async def test_par_ensure_jwt_client_assertions_nbf_8_seconds_in_the_future_is_accepted(
    client: Party,
) -> None:
    assert (await with_assertion(client, nbf=client.now() + 8)).status_code == 201


async def test_par_ensure_jwt_client_assertions_nbf_over_60_seconds_in_the_future_fails(
    client: Party,
) -> None:
    refused(
        await with_assertion(client, nbf=client.now() + 61, exp=client.now() + 120),
        "invalid_client",
        status=401,
    )


async def test_par_authorization_request_containing_request_uri_form_param(client: Party) -> None:
    refused(await client.push(request_uri="urn:ietf:params:oauth:request_uri:x"), "invalid_request")
    # Beside a request object too, whose parameters alone count (RFC 9126 §2.1, RFC 9101 §6.3).
    beside = {"request": signed_request(client), "request_uri": "urn:ietf:params:oauth:request_uri:x"}
    refused(await client.post("/par", beside), "invalid_request")


async def test_par_attempt_invalid_http_method(client: Party) -> None:
    async with client.issuer.http() as http:
        assert (await http.get(f"/{client.issuer.caisse}/par")).status_code == 405


async def test_par_ensure_pkce_required(client: Party) -> None:
    refused(await client.push(code_challenge=None, code_challenge_method=None), "invalid_request")


async def test_par_plain_pkce_rejected(client: Party) -> None:
    refused(await client.push(code_challenge_method="plain"), "invalid_request")
    refused(await client.push(code_challenge_method=None), "invalid_request")


async def test_par_without_duplicate_parameters(client: Party) -> None:
    """A doubled parameter is refused."""
    body = urlencode([*{**client.credentials(), **client.request()}.items(), ("scope", "openid")])
    async with client.issuer.http() as http:
        answer = await http.post(
            f"/{client.issuer.caisse}/par",
            content=body,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
    refused(answer, "invalid_request")


async def test_par_test_array_as_audience_fails(client: Party) -> None:
    refused(await with_assertion(client, aud=[client.issuer.url]), "invalid_client", status=401)


async def test_par_test_par_endpoint_url_as_audience_fails(client: Party) -> None:
    refused(await with_assertion(client, aud=client.issuer.url + "/par"), "invalid_client", status=401)


async def test_par_test_token_endpoint_url_as_audience_fails(client: Party) -> None:
    refused(await with_assertion(client, aud=client.issuer.url + "/token"), "invalid_client", status=401)


async def test_par_assertion_is_good_once(client: Party) -> None:
    assert (await with_assertion(client, jti="once")).status_code == 201
    refused(await with_assertion(client, jti="once"), "invalid_client", status=401)


async def test_every_answer_names_its_issuer(client: Party, who: Somebody) -> None:
    answer = await client.authorize(who)
    assert dict(parse_qsl(urlsplit(answer.headers["location"]).query))["iss"] == client.issuer.url


async def test_a_request_object_shown_again_opens_nothing_that_is_spent(client: Party, who: Somebody) -> None:
    """A request and no proof: shown twice it asks twice; each answer is good once, for who holds the verifier."""
    request = signed_request(client, jti="once")
    codes: list[str] = []
    for _ in range(2):
        pushed = await client.post("/par", {"request": request})
        codes.append(callback(await follow(client, who, pushed))["code"])
        assert (await follow(client, who, pushed)).status_code == 400
    assert len(set(codes)) == 2
    refused(await client.redeem(codes[0], code_verifier="w" * 64), "invalid_grant")
    assert (await client.redeem(codes[1])).status_code == 200
    refused(await client.redeem(codes[1]), "invalid_grant")

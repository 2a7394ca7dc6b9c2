"""openid.md §3, RFC 9700 and FAPI 2.0: lines 1 to 15 by their number, where no module of §6 already holds it.

Lines 2, 5, 8, 9, 11, 14, 15 and 25 are held in tests/openid/fapi2 as well; lines 18
to 20 in `test_lines_of_browsers.py` here and in tests/portal, line 21 in
tests/identity/sign_in; the lines about TLS (22) and APIs (parts of 13, 14, 17, 24)
also stand in tests/access, tests/identity and tests/journeys.
"""

import asyncio
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from libs.common.access.signatures import SigningKey, sign_compact
from services.identity.openid.client_rules import InvalidClientMetadata
from services.identity.openid.clients import CLIENT_CREDENTIALS, REFRESH
from tests.openid.party import Issuer, Party, Somebody, callback, claims_of, discovered


async def test_line_01_only_the_port_of_a_native_loopback_varies(issuer: Issuer, who: Somebody) -> None:
    native = await issuer.client(
        token_endpoint_auth_method="none", application_type="native", redirect_uris=("http://127.0.0.1/cb",)
    )
    for good in ("http://127.0.0.1:5000/cb", "http://127.0.0.1/cb"):
        assert "code" in await native.answer(who, redirect_uri=good)
    for port in ("", ":", ":65536", ":99999", ":100000", ":00008400", ":" + "9" * 4301, ":" + "0" * 4301 + "1",
                 ":5000:1", ":-1", ":+1", ":5_0", ":٣"):  # fmt: skip
        answer = await native.authorize(who, redirect_uri=f"http://127.0.0.1{port}/cb")
        assert answer.status_code == (400 if port else 200), port[:12]
    for wrong in ("http://127.0.0.1:5000/other", "http://localhost:5000/cb", "https://127.0.0.1:5000/cb",
                  "http://127.0.0.1:5000/cb?x=1", "http://127.0.0.2/cb", "http://127.0.0.1:99999/cb",
                  "http://127.0.0.1:5000@evil.example/cb", "http://127.0.0.1.evil.example/cb",
                  "/cb", ":5000/cb", "//127.0.0.1/cb"):  # fmt: skip
        assert (await native.authorize(who, redirect_uri=wrong)).status_code == 400, wrong


async def test_line_01_a_web_client_s_loopback_port_does_not_vary(issuer: Issuer, who: Somebody) -> None:
    web = await issuer.client(token_endpoint_auth_method="none", redirect_uris=("http://127.0.0.1/cb",))
    assert (await web.authorize(who, redirect_uri="http://127.0.0.1:5000/cb")).status_code == 400


async def test_line_02_bad_client_or_redirect_is_a_page(client: Party, who: Somebody) -> None:
    path = f"/{client.issuer.caisse}/authorize?"
    for wrong in ({"client_id": "unknown"}, {"redirect_uri": "https://evil.example"}, {"client_id": ""}):
        answer = await who.get(path + urlencode({**client.request(), **wrong}))
        assert answer.status_code == 400 and "location" not in answer.headers
        assert 'id="failed"' in answer.text


@pytest.mark.parametrize("response_type", ["token", "id_token", "code token", "code id_token", "none"])
async def test_line_03_implicit_and_hybrid_are_refused(
    public: Party, who: Somebody, response_type: str
) -> None:
    answer = callback(await public.authorize(who, response_type=response_type))
    assert answer["error"] == "unsupported_response_type" and "code" not in answer


@pytest.mark.parametrize(
    "grant_type", ["password", "implicit", "urn:ietf:params:oauth:grant-type:jwt-bearer", "x"]
)
async def test_line_03_other_grants_are_refused(client: Party, grant_type: str) -> None:
    answer = await client.post("/token", {"grant_type": grant_type, "username": "a", "password": "b"})
    assert answer.json()["error"] == "unsupported_grant_type"


async def test_a_missing_grant_type_is_a_malformed_request(client: Party) -> None:
    """RFC 6749 §5.2: `unsupported_grant_type` is said of one that is named."""
    for form in ({}, {"grant_type": ""}):
        answer = await client.post("/token", {"code": "x", **form})
        assert (answer.status_code, error_of(answer)) == (400, "invalid_request")


async def test_line_03_they_are_absent_from_metadata(issuer: Issuer) -> None:
    told = await discovered(issuer)
    assert told["response_types_supported"] == ["code"]
    assert not {"password", "implicit"} & set(told["grant_types_supported"])


async def test_line_04_pkce_s256_always_plain_never(public: Party, who: Somebody) -> None:
    for wrong in (
        {"code_challenge": None, "code_challenge_method": None},
        {"code_challenge_method": "plain"},
        {"code_challenge_method": None},
        {"code_challenge": "short"},
    ):
        assert callback(await public.authorize(who, **wrong))["error"] == "invalid_request"


async def test_line_04_compat_may_omit_but_not_weaken(issuer: Issuer, who: Somebody) -> None:
    plain = await issuer.plain_client()
    assert "code" in await plain.answer(who)
    weak = await plain.answer(who, code_challenge=plain.challenge, code_challenge_method="plain")
    assert weak["error"] == "invalid_request"


async def test_line_05_challenge_and_verifier_come_together(issuer: Issuer, who: Somebody) -> None:
    plain = await issuer.plain_client()
    answers = [
        await plain.redeem(await plain.code(who), code_verifier=plain.verifier),
        await plain.redeem(
            await plain.code(who, code_challenge=plain.challenge, code_challenge_method="S256"),
            code_verifier=None,
        ),
    ]
    assert [answer.json()["error"] for answer in answers] == ["invalid_grant", "invalid_grant"]


async def test_line_06_a_code_is_bound_to_its_redirect(client: Party, who: Somebody) -> None:
    answer = await client.redeem(await client.code(who), redirect_uri="https://client.example/other")
    assert answer.json()["error"] == "invalid_grant"


async def test_line_06_of_fifty_redemptions_one_wins_and_what_it_gave_dies(
    client: Party, who: Somebody
) -> None:
    code = await client.code(who)
    answers = await asyncio.gather(*(client.redeem(code) for _ in range(50)))
    won = [answer for answer in answers if answer.status_code == 200]
    assert len(won) == 1
    assert {answer.json()["error"] for answer in answers if answer.status_code != 200} == {"invalid_grant"}
    assert (await client.userinfo(won[0].json()["access_token"])).status_code == 401
    assert (await client.refresh(won[0].json()["refresh_token"])).json()["error"] == "invalid_grant"
    told = await client.post("/introspect", {"token": won[0].json()["access_token"]})
    assert told.json() == {"active": False}


async def test_line_07_iss_in_successes_and_errors(public: Party, who: Somebody, issuer: Issuer) -> None:
    assert (await public.answer(who))["iss"] == issuer.url
    assert (await public.answer(who, response_type="token"))["iss"] == issuer.url


async def test_line_08_confidential_clients_push(client: Party, who: Somebody) -> None:
    answer = await who.get(f"/{client.issuer.caisse}/authorize?{urlencode(client.request())}")
    assert callback(answer)["error"] == "invalid_request"


async def test_line_08_a_request_lives_less_than_ten_minutes(client: Party) -> None:
    assert (await client.push()).json()["expires_in"] < 600


async def test_line_10_a_fapi_client_has_no_secret(issuer: Issuer) -> None:
    for method in ("none", "client_secret_basic", "client_secret_post"):
        with pytest.raises(InvalidClientMetadata):
            await issuer.client(profile="fapi", token_endpoint_auth_method=method)


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
async def test_line_12_none_and_hs_are_refused(client: Party, algorithm: str) -> None:
    """The symmetric one is keyed by the client's own public key, as the old confusion has it."""
    import hashlib
    import hmac

    import msgspec

    from libs.common.access.signatures import b64url

    claims = {"iss": client.client_id, "sub": client.client_id, "aud": client.issuer.url, "exp": client.now() + 60,
              "jti": "j"}  # fmt: skip
    signed = f"{b64url(msgspec.json.encode({'alg': algorithm}))}.{b64url(msgspec.json.encode(claims))}"
    secret = msgspec.json.encode(client.key.published_jwk())
    mac = b"" if algorithm == "none" else hmac.new(secret, signed.encode(), hashlib.sha256).digest()
    said = {**client.credentials(), "client_assertion": f"{signed}.{b64url(mac)}"}
    answer = await client.post("/par", client.request(), credentials=said)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


async def test_line_12_small_rsa_keys_are_refused(issuer: Issuer) -> None:
    from cryptography.hazmat.primitives.asymmetric import rsa

    small = SigningKey("PS256", rsa.generate_private_key(65537, 1024))
    with pytest.raises(InvalidClientMetadata):
        await issuer.client(jwks={"keys": [small.published_jwk()]})


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "PS256"])
async def test_line_12_the_three_algorithms_are_accepted(
    issuer: Issuer, who: Somebody, algorithm: Any
) -> None:
    client = await issuer.client(profile="fapi", key=SigningKey.generate(algorithm))
    client.dpop = SigningKey.generate(algorithm)
    assert (await client.tokens(who))["token_type"] == "DPoP"


async def test_line_13_public_clients_tokens_are_bound_too(public: Party, who: Somebody) -> None:
    code = await public.code(who)
    assert (await public.redeem(code, proof=None)).json()["error"] == "invalid_dpop_proof"
    tokens = (await public.redeem(code)).json()
    assert claims_of(tokens["access_token"])["cnf"] == {"jkt": public.dpop.kid}
    assert (await public.userinfo(tokens["access_token"], scheme="Bearer")).status_code == 401


async def test_line_13_a_bearer_token_opens_userinfo_and_nothing_else(issuer: Issuer, who: Somebody) -> None:
    plain = await issuer.plain_client()
    tokens = await plain.tokens(who, scope="openid declaration.read mandate.manage")
    assert (tokens["token_type"], tokens["scope"]) == ("Bearer", "openid")
    elsewhere = await plain.redeem(await plain.code(who), resource=issuer.adherent)
    assert elsewhere.json()["error"] == "invalid_target"


async def test_line_13_a_bearer_token_administers_nothing(issuer: Issuer) -> None:
    """A client in its own name, by secret and without a proof: what no API accepts is not given."""
    quiet: dict[str, Any] = {"grant_types": (CLIENT_CREDENTIALS,), "response_types": (), "redirect_uris": ()}
    plain = await issuer.plain_client(**quiet, scope="client.manage")
    form = {"grant_type": CLIENT_CREDENTIALS}
    assert (await plain.post("/token", form)).json()["scope"] == ""
    wanted = await plain.post("/token", {**form, "scope": "client.manage"})
    assert error_of(wanted) == "invalid_scope"
    assert error_of(await plain.post("/token", {**form, "resource": issuer.adherent})) == "invalid_target"
    bound = await plain.post("/token", {**form, "scope": "client.manage"}, proof=plain.proof("/token"))
    assert (bound.json()["token_type"], bound.json()["scope"]) == ("DPoP", "client.manage")


async def test_line_14_a_nonce_is_wanted_where_registered(issuer: Issuer, who: Somebody) -> None:
    client = await issuer.client(require_dpop_nonce=True)
    asked = await client.push()
    assert (asked.status_code, asked.json()["error"]) == (400, "use_dpop_nonce")
    nonce = asked.headers["dpop-nonce"]
    pushed = await client.post("/par", client.request(), proof=client.proof("/par", nonce=nonce))
    assert pushed.status_code == 201 and pushed.headers["dpop-nonce"]
    wrong = await client.post("/par", client.request(), proof=client.proof("/par", nonce="forged"))
    assert wrong.json()["error"] == "use_dpop_nonce"


async def test_line_14_userinfo_wants_a_nonce_where_registered(issuer: Issuer, who: Somebody) -> None:
    """RFC 9449 §9: a challenge of 401 that carries the nonce, then each answer the next."""
    client = await issuer.client(require_dpop_nonce=True)
    nonce = (await client.push()).headers["dpop-nonce"]
    pushed = await client.post("/par", client.request(), proof=client.proof("/par", nonce=nonce))
    query = urlencode({"client_id": client.client_id, "request_uri": pushed.json()["request_uri"]})
    code = callback(await who.get(f"/{issuer.caisse}/authorize?{query}"))["code"]
    token = (await client.redeem(code, proof=client.proof("/token", nonce=nonce))).json()["access_token"]

    async def ask(**nonce: str) -> httpx.Response:
        proof = client.proof("/userinfo", "GET", access_token=token, **nonce)
        async with issuer.http() as http:
            headers = {"Authorization": f"DPoP {token}", "DPoP": proof}
            return await http.get(f"/{issuer.caisse}/userinfo", headers=headers)

    asked = await ask()
    assert (asked.status_code, asked.json()["error"]) == (401, "use_dpop_nonce")
    # One challenge: some clients look for this error in an answer that holds no other (RFC 9449 §7.1).
    assert asked.headers["www-authenticate"].startswith('DPoP error="use_dpop_nonce"')
    assert "Bearer" not in asked.headers["www-authenticate"]
    answered = await ask(nonce=asked.headers["dpop-nonce"])
    assert answered.status_code == 200 and answered.headers["dpop-nonce"]
    assert (await ask(nonce="forged")).json()["error"] == "use_dpop_nonce"


async def test_line_14_userinfo_challenges_a_proof_shown_twice(issuer: Issuer, who: Somebody) -> None:
    """RFC 9449 §7.1: as any other proof that does not do, by 401 and a challenge."""
    client = await issuer.client()
    token = (await client.tokens(who))["access_token"]
    proof = client.proof("/userinfo", "GET", access_token=token)
    headers = {"Authorization": f"DPoP {token}", "DPoP": proof}
    async with issuer.http() as http:
        first, again = [await http.get(f"/{issuer.caisse}/userinfo", headers=headers) for _ in range(2)]
    assert (first.status_code, again.status_code) == (200, 401)
    assert again.headers["www-authenticate"].startswith('DPoP error="invalid_dpop_proof"')


async def test_line_17_userinfo_is_for_its_own_tokens(issuer: Issuer, who: Somebody) -> None:
    """OpenID Connect Core §5.3: the audience, then `openid` (RFC 6750 §3.1)."""
    client = await issuer.client()
    elsewhere = await client.tokens(who, scope="openid declaration.read", resource=issuer.adherent)
    answer = await client.userinfo(elsewhere["access_token"])
    assert answer.status_code == 401 and 'error="invalid_token"' in answer.headers["www-authenticate"]
    answer = await client.userinfo((await client.tokens(who, scope="email"))["access_token"])
    assert answer.status_code == 403 and 'error="insufficient_scope"' in answer.headers["www-authenticate"]


async def test_a_bearer_token_is_shown_as_one_and_once(issuer: Issuer, who: Somebody) -> None:
    """RFC 6750 §2: one method a request; RFC 9449 §7.1: the scheme is the token's."""
    plain = await issuer.plain_client()
    token = (await plain.tokens(who))["access_token"]
    assert (await plain.userinfo(token)).status_code == 200
    assert (await plain.userinfo(token, scheme="DPoP")).status_code == 401
    async with issuer.http() as http:
        twice = await http.post(
            f"/{issuer.caisse}/userinfo",
            data={"access_token": token},
            headers={"Authorization": f"Bearer {token}"},
        )
    assert (twice.status_code, "invalid_request" in twice.headers["www-authenticate"]) == (400, True)


async def test_userinfo_challenges_by_the_scheme_that_was_used(issuer: Issuer, who: Somebody) -> None:
    """RFC 6750 §3, §3.1, RFC 9449 §7.1: the codes of proofs are DPoP's alone, and nothing shown is no error."""
    client = await issuer.client()
    token = (await client.tokens(who))["access_token"]
    where = f'resource_metadata="{issuer.settings.identity.base}/.well-known/oauth-protected-resource/{issuer.caisse}"'
    by_proof = f'algs="ES256 EdDSA Ed25519 PS256", {where}'

    async def challenged(status: int, **headers: str) -> str:
        async with issuer.http() as http:
            answer = await http.get(f"/{issuer.caisse}/userinfo", headers=headers)
        assert answer.status_code == status
        return answer.headers["www-authenticate"]

    assert await challenged(401) == f"Bearer {where}, DPoP {by_proof}"
    for nothing in ("Basic eDp5", "Bearer", "DPoP ", token):
        assert "error" not in await challenged(401, Authorization=nothing), nothing
    shown = {"Authorization": f"DPoP {token}"}
    assert await challenged(401, **shown) == f'DPoP error="invalid_dpop_proof", {by_proof}'
    for bearer in (token, "x"):
        wrong = await challenged(401, Authorization=f"Bearer {bearer}")
        assert wrong == f'Bearer error="invalid_token", {where}, DPoP {by_proof}'


async def test_two_methods_of_authentication_are_refused(issuer: Issuer, who: Somebody) -> None:
    """RFC 6749 §2.3."""
    plain = await issuer.plain_client()
    answer = await plain.post("/token", {"grant_type": REFRESH, "refresh_token": "x", "client_secret": "y",
                                         "client_id": plain.client_id})  # fmt: skip
    assert error_of(answer) == "invalid_request"


def error_of(answer: httpx.Response) -> str:
    return answer.json()["error"]


@pytest.mark.parametrize("way", ["by GET", "by POST", "in a request object", "pushed", "pushed with a proof"])
async def test_line_15_the_key_said_in_the_request_is_the_key_of_the_redemption(
    issuer: Issuer, who: Somebody, way: str
) -> None:
    """RFC 9449 §10: whatever way `dpop_jkt` came, a code that leaks is worth nothing without that key."""
    key = SigningKey.generate("ES256")
    public = await issuer.client(
        token_endpoint_auth_method="none", consent="explicit", key=key, jwks={"keys": [key.published_jwk()]}
    )
    authorize = f"/{issuer.caisse}/authorize"
    request, bound = public.request(), public.request(dpop_jkt=public.dpop.kid)
    if way == "by GET":
        page = await who.get(f"{authorize}?{urlencode(bound)}")
    elif way == "by POST":
        page = await who.get((await who.post(authorize, bound)).headers["location"])
    elif way == "in a request object":
        now = public.now()
        inside = {"iss": public.client_id, "aud": issuer.url, "exp": now + 60, "nbf": now, **bound}
        signed = sign_compact(key, {"kid": key.kid}, inside)
        # RFC 9101 §6.3: what stands outside counts for nothing, another key no more than any other.
        outside = {**request, "dpop_jkt": SigningKey.generate("ES256").kid, "request": signed}
        page = await who.get(f"{authorize}?{urlencode(outside)}")
    else:
        pushed = await (
            public.post("/par", request) if "proof" in way else public.post("/par", bound, proof=None)
        )
        handle = {"client_id": public.client_id, "request_uri": pushed.json()["request_uri"]}
        page = await who.get(f"{authorize}?{urlencode(handle)}")
    onward = await who.submit(page, choice="accept")
    code = callback(await who.get(onward.headers["location"]))["code"]

    its_own, public.dpop = public.dpop, SigningKey.generate("ES256")
    stolen = await public.redeem(code)
    assert (stolen.status_code, stolen.json()["error"]) == (400, "invalid_grant")
    public.dpop = its_own
    assert claims_of((await public.redeem(code)).json()["access_token"])["cnf"] == {"jkt": its_own.kid}


@pytest.mark.parametrize("wrong", ["x", "A" * 42, "A" * 44, "A" * 42 + "=", "é" * 43])
async def test_line_15_what_is_no_thumbprint_is_no_key(
    client: Party, public: Party, who: Somebody, wrong: str
) -> None:
    assert (await client.push(dpop_jkt=wrong)).json()["error"] == "invalid_request"
    answer = await public.authorize(who, dpop_jkt=wrong)
    if wrong.isascii():
        assert callback(answer)["error"] == "invalid_request"
    else:
        assert answer.status_code == 400 and "location" not in answer.headers

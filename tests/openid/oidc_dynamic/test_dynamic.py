"""OpenID Connect Dynamic: one test per judged module (openid.md §6), by clients that register themselves."""

import asyncio
import json

import httpx
import msgspec
import pytest

from libs.common.access.signatures import SigningKey, sign_compact
from libs.common.database.pool import Database
from libs.common.values.identifiers import public_id
from services.identity.openid.guarded_fetcher import GuardedFetcher
from services.identity.openid.logos.keep_logos import read_due
from tests.openid.listener import Listener
from tests.openid.logos.pictures import picture
from tests.openid.oidc_dynamic.registering import CALLBACK, invitation, manage, post, register
from tests.openid.party import Issuer, Somebody, callback, claims_of, header_of


async def test_server(issuer: Issuer, who: Somebody) -> None:
    client, told = await register(issuer)
    assert told["client_secret_expires_at"] == 0 and told["registration_client_uri"].startswith(issuer.url)
    assert "id_token" in await client.tokens(who)


async def itself(issuer: Issuer, **headers: str) -> httpx.Response:
    async with issuer.http() as http:
        body = {"redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none"}
        return await http.post(f"/{issuer.caisse}/register", json=body, headers=headers)


async def test_registration_is_closed_until_the_caisse_opens_it(issuer: Issuer) -> None:
    answer = await itself(issuer)
    assert answer.status_code == 401 and answer.json()["error"] == "invalid_token"


async def test_an_open_caisse_gives_the_standard_profile_and_compat_only_if_it_says_so(
    issuer: Issuer,
) -> None:
    try:
        await issuer.opens("standard")
        told = (await itself(issuer)).json()
        assert (told["profile"], told["id_token_signed_response_alg"]) == ("standard", "ES256")
        async with issuer.http() as http:
            secret = {"redirect_uris": [CALLBACK], "token_endpoint_auth_method": "client_secret_basic"}
            assert (await http.post(f"/{issuer.caisse}/register", json=secret)).status_code == 400
        await issuer.opens("compat")
        told = (await itself(issuer)).json()
        assert (told["profile"], told["id_token_signed_response_alg"]) == ("compat", "RS256")
    finally:
        await issuer.opens("closed")
    assert (await itself(issuer)).status_code == 401


async def test_a_wrong_initial_token_is_not_taken_for_none(issuer: Issuer) -> None:
    try:
        await issuer.opens("standard")
        for wrong in ("Bearer nobody", "Bearer", "Basic eDp5", ""):
            assert (await itself(issuer, Authorization=wrong)).status_code == 401, wrong
    finally:
        await issuer.opens("closed")


async def test_idtoken_rs256(issuer: Issuer, who: Somebody) -> None:
    client, told = await register(issuer)
    assert told["id_token_signed_response_alg"] == "RS256"
    assert header_of((await client.tokens(who))["id_token"])["alg"] == "RS256"


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "PS256"])
async def test_idtoken_of_other_algorithms(issuer: Issuer, who: Somebody, algorithm: str) -> None:
    client, _ = await register(issuer, id_token_signed_response_alg=algorithm)
    assert header_of((await client.tokens(who))["id_token"])["alg"] == algorithm


async def test_idtoken_unsigned(issuer: Issuer) -> None:
    answer = await post(
        issuer,
        await invitation(issuer),
        {"redirect_uris": [CALLBACK], "id_token_signed_response_alg": "none"},
    )
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client_metadata")


async def test_userinfo_rs256(issuer: Issuer, who: Somebody) -> None:
    client, _ = await register(issuer, userinfo_signed_response_alg="RS256")
    answer = await client.userinfo((await client.tokens(who))["access_token"])
    assert answer.headers["content-type"].startswith("application/jwt")
    assert header_of(answer.text)["alg"] == "RS256"
    assert claims_of(answer.text)["aud"] == client.client_id and claims_of(answer.text)["iss"] == issuer.url


async def test_ensure_redirect_uri_in_authorization_request(issuer: Issuer, who: Somebody) -> None:
    client, _ = await register(issuer)
    assert (await client.authorize(who, redirect_uri=None)).status_code == 400


async def test_redirect_uri_query_ok(issuer: Issuer, who: Somebody) -> None:
    client, _ = await register(issuer, redirect_uris=[CALLBACK + "?foo=bar"])
    answer = await client.answer(who)
    assert answer["foo"] == "bar" and "code" in answer


async def test_redirect_uri_query_mismatch(issuer: Issuer, who: Somebody) -> None:
    client, _ = await register(issuer, redirect_uris=[CALLBACK + "?foo=bar"])
    assert (await client.authorize(who, redirect_uri=CALLBACK + "?foo=other")).status_code == 400


async def test_redirect_uri_query_added(issuer: Issuer, who: Somebody) -> None:
    client, _ = await register(issuer)
    assert (await client.authorize(who, redirect_uri=CALLBACK + "?foo=bar")).status_code == 400


async def test_redirect_uri_regfrag(issuer: Issuer) -> None:
    answer = await post(issuer, await invitation(issuer), {"redirect_uris": [CALLBACK + "#fragment"]})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_redirect_uri")


async def test_discovery_endpoint_verification(issuer: Issuer) -> None:
    await invitation(issuer)
    # Discovery is a second late at most.
    await asyncio.sleep(1.1)
    told = await issuer.told()
    assert told["registration_endpoint"] == f"{issuer.url}/register"


async def test_registration_logo_uri(
    issuer: Issuer, who: Somebody, listener: Listener, identity_relay: Database
) -> None:
    """Registered at once whether the address answers or not; shown once the worker has read it, from our origin."""
    listener.pages["/logo.png"], listener.content_type = picture(), "image/png"
    client, told = await register(issuer, logo_uri=listener.url("/logo.png"))
    assert told["logo_uri"] == listener.url("/logo.png") and listener.asked == []
    assert "<img" not in (await client.authorize(who)).text
    await read_due(GuardedFetcher(["127.0.0.1"]), identity_relay, issuer.clock())
    page = (await client.authorize(who)).text
    assert f'<img id="logo" src="/{issuer.caisse}/client-logos/' in page and told["logo_uri"] not in page


async def test_registration_policy_uri(issuer: Issuer, who: Somebody) -> None:
    client, told = await register(issuer, policy_uri="https://client.example/p")
    assert told["policy_uri"] == "https://client.example/p"
    page = (await client.authorize(who)).text
    assert 'id="policy" href="https://client.example/p"' in page and 'id="terms"' not in page


async def test_registration_tos_uri(issuer: Issuer, who: Somebody) -> None:
    client, told = await register(issuer, tos_uri="https://client.example/t")
    assert told["tos_uri"] == "https://client.example/t"
    page = (await client.authorize(who)).text
    assert 'id="terms" href="https://client.example/t"' in page and 'id="policy"' not in page


async def test_registration_jwks_uri(issuer: Issuer, who: Somebody, listener: Listener) -> None:
    key = SigningKey.generate("RS256")
    listener.pages["/jwks"] = msgspec.json.encode({"keys": [key.published_jwk()]})
    client, _ = await register(
        issuer, key=key, jwks_uri=listener.url("/jwks"), token_endpoint_auth_method="private_key_jwt"
    )
    assert "id_token" in await client.tokens(who)


async def test_registration_sector_uri(issuer: Issuer, who: Somebody, listener: Listener) -> None:
    listener.pages["/sector"] = json.dumps([CALLBACK]).encode()
    client, _ = await register(issuer, subject_type="pairwise", sector_identifier_uri=listener.url("/sector"))
    same, _ = await register(issuer, subject_type="pairwise", sector_identifier_uri=listener.url("/sector"))
    other, _ = await register(issuer, subject_type="pairwise")
    public, _ = await register(issuer)
    subjects = [
        claims_of((await one.tokens(who))["id_token"])["sub"] for one in (client, same, other, public)
    ]
    assert subjects[0] == subjects[1] and len(set(subjects)) == 3


async def test_a_pairwise_subject_is_said_by_id_token_and_userinfo(issuer: Issuer, who: Somebody) -> None:
    """The access token names the person as our APIs know them: docs/reference/divergences.md, §8.1."""
    client, _ = await register(issuer, subject_type="pairwise")
    tokens = await client.tokens(who)
    pairwise, public = claims_of(tokens["id_token"])["sub"], public_id("per", who.id)
    assert pairwise != public
    assert (await client.userinfo(tokens["access_token"])).json()["sub"] == pairwise
    assert claims_of(tokens["access_token"])["sub"] == public


async def test_registration_sector_bad(issuer: Issuer, listener: Listener) -> None:
    listener.pages["/sector"] = json.dumps(["https://elsewhere.example/cb"]).encode()
    answer = await post(
        issuer, await invitation(issuer),
        {"redirect_uris": [CALLBACK], "subject_type": "pairwise", "sector_identifier_uri": listener.url("/sector")},
    )  # fmt: skip
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client_metadata")


async def test_server_rotate_keys(issuer: Issuer, who: Somebody) -> None:
    from libs.common.keys.key_encryption import KeyEncryption
    from services.identity.signing_keys.rotation import rotate

    client, _ = await register(issuer)
    before = header_of((await client.tokens(who))["id_token"])["kid"]
    async with issuer.db.transaction(issuer.caisse) as tx:
        await rotate(tx, KeyEncryption(b"k" * 32), "RS256", issuer.clock())
    await _ring_is_reread()
    after = header_of((await client.tokens(who))["id_token"])["kid"]
    async with issuer.http() as http:
        published = {key["kid"] for key in (await http.get(f"/{issuer.caisse}/jwks")).json()["keys"]}
    assert before != after and {before, after} <= published


async def _ring_is_reread() -> None:
    import asyncio

    from services.identity.signing_keys.key_ring import FRESH_FOR

    await asyncio.sleep(FRESH_FOR + 0.05)


async def test_refresh_token_rp_key_rotation(issuer: Issuer, who: Somebody, listener: Listener) -> None:
    """The client changes its keys at its own address: the new one is read when an unknown `kid` comes."""
    key, new = SigningKey.generate("ES256"), SigningKey.generate("ES256")
    listener.pages["/jwks"] = msgspec.json.encode({"keys": [key.published_jwk()]})
    client, _ = await register(
        issuer, key=key, jwks_uri=listener.url("/jwks"), token_endpoint_auth_method="private_key_jwt",
        grant_types=["authorization_code", "refresh_token"],
    )  # fmt: skip
    tokens = await client.tokens(who)
    listener.pages["/jwks"] = msgspec.json.encode({"keys": [new.published_jwk()]})
    client.key = new
    assert (await client.refresh(tokens["refresh_token"])).status_code == 200


async def test_request_uri_unsigned(issuer: Issuer, who: Somebody, listener: Listener) -> None:
    listener.pages["/request.jwt"] = b"eyJhbGciOiJub25lIn0.e30."
    client, _ = await register(issuer, request_uris=[listener.url("/request.jwt")])
    uri = listener.url("/request.jwt")
    told = callback(await client.authorize(who, request_uri=uri, state="outside"))
    assert (told["error"], told["state"], told["iss"]) == ("request_not_supported", "outside", issuer.url)
    page = await client.authorize(who, request_uri=uri, redirect_uri="https://evil.example/cb")
    assert page.status_code == 400 and "request_not_supported" in page.text


@pytest.mark.parametrize("fragment", ["A" * 43, "une-autre", "a/b?c=%20", ""])
async def test_a_request_uri_is_named_with_its_fragment_and_read_without(
    issuer: Issuer, who: Somebody, listener: Listener, fragment: str
) -> None:
    """OpenID Connect Core §6.2: a fragment is compared, never sent; the hash that it may be is not enforced."""
    key = SigningKey.generate("RS256")
    uri = listener.url(f"/request.jwt#{fragment}")
    client, told = await register(issuer, key=key, jwks={"keys": [key.published_jwk()]}, request_uris=[uri])
    assert told["request_uris"] == [uri]
    inside = client.request() | {"iss": client.client_id, "aud": issuer.url}
    listener.pages["/request.jwt"] = sign_compact(key, {"kid": key.kid}, inside).encode()
    assert "code" in await client.answer(who, request_uri=uri)
    other = callback(await client.authorize(who, request_uri=listener.url("/request.jwt#other")))
    assert other["error"] == "request_uri_not_supported"


async def test_a_fragment_elsewhere_or_malformed_is_refused(issuer: Issuer) -> None:
    token = await invitation(issuer)
    for wrong in (
        {"request_uris": ["https://client.example/r#a#b"]}, {"request_uris": ["https://client.example/r#\n"]},
        {"request_uris": ["https://client.example/r#" + "a" * 2000]}, {"request_uris": ["#a"]},
        {"jwks_uri": "https://client.example/k#a"}, {"sector_identifier_uri": "https://client.example/s#a"},
        {"logo_uri": "https://client.example/l#a"}, {"backchannel_logout_uri": "https://client.example/b#a"},
        {"post_logout_redirect_uris": ["https://client.example/o#a"]},
    ):  # fmt: skip
        answer = await post(issuer, token, {"redirect_uris": [CALLBACK], **wrong})
        assert answer.status_code == 400, wrong


async def test_a_request_by_value_and_by_reference_is_refused(
    issuer: Issuer, who: Somebody, listener: Listener
) -> None:
    """RFC 9101 §5."""
    key, uri = SigningKey.generate("ES256"), listener.url("/request.jwt")
    client, _ = await register(issuer, key=key, jwks={"keys": [key.published_jwk()]}, request_uris=[uri])
    inside = client.request() | {"iss": client.client_id, "aud": issuer.url}
    signed = sign_compact(key, {"kid": key.kid}, inside)
    listener.pages["/request.jwt"] = signed.encode()
    told = callback(await client.authorize(who, request_uri=uri, request=signed))
    assert told["error"] == "invalid_request" and listener.asked == []


async def test_request_uri_signed_rs256(issuer: Issuer, who: Somebody, listener: Listener) -> None:
    key = SigningKey.generate("RS256")
    client, _ = await register(
        issuer, key=key, jwks={"keys": [key.published_jwk()]}, request_uris=[listener.url("/request.jwt")]
    )
    inside = client.request(state="inside") | {"iss": client.client_id, "aud": issuer.url}
    listener.pages["/request.jwt"] = sign_compact(key, {"kid": key.kid}, inside).encode()
    answer = await client.answer(who, request_uri=listener.url("/request.jwt"), state="outside")
    assert answer["state"] == "inside" and "code" in answer


async def test_ensure_client_assertion_with_iss_aud_succeeds(issuer: Issuer, who: Somebody) -> None:
    key = SigningKey.generate("ES256")
    client, _ = await register(
        issuer, key=key, jwks={"keys": [key.published_jwk()]}, token_endpoint_auth_method="private_key_jwt"
    )
    assert "id_token" in await client.tokens(who)


async def test_refresh_token(issuer: Issuer, who: Somebody) -> None:
    client, _ = await register(issuer, grant_types=["authorization_code", "refresh_token"])
    tokens = await client.tokens(who)
    assert "id_token" in (await client.refresh(tokens["refresh_token"])).json()


# RFC 7591 and 7592


async def test_an_invitation_is_needed_and_good_once(issuer: Issuer) -> None:
    body = {"redirect_uris": [CALLBACK]}
    token = await invitation(issuer)
    assert (await post(issuer, "unknown", body)).status_code == 401
    assert (await post(issuer, token, body)).status_code == 201
    assert (await post(issuer, token, body)).status_code == 401


async def test_a_refused_registration_does_not_spend_the_invitation(issuer: Issuer) -> None:
    token = await invitation(issuer)
    assert (await post(issuer, token, {"redirect_uris": ["http://client.example/cb"]})).status_code == 400
    assert (await post(issuer, token, {"redirect_uris": [CALLBACK]})).status_code == 201


async def test_the_profile_is_the_invitation_s(issuer: Issuer) -> None:
    """A client never says its own profile, its consent or what it may introspect."""
    body = {"redirect_uris": [CALLBACK], "profile": "compat", "consent": "implicit",
            "introspects": [issuer.adherent], "resources": [issuer.adherent],
            "token_endpoint_auth_method": "none", "scope": "openid letters.issue mandate.manage"}  # fmt: skip
    told = (await post(issuer, await invitation(issuer, "standard"), body)).json()
    assert (told["profile"], told["scope"]) == ("standard", "openid")
    async with issuer.db.transaction(issuer.caisse) as tx:
        from services.identity.openid import store

        client = await store.load_client(tx, told["client_id"])
    assert client is not None
    metadata = client.metadata
    assert (metadata.consent, metadata.introspects, metadata.resources) == ("explicit", (), ())


async def test_defaults_are_told(issuer: Issuer) -> None:
    _, told = await register(issuer, "standard", token_endpoint_auth_method="none")
    assert (told["id_token_signed_response_alg"], told["grant_types"]) == ("ES256", ["authorization_code"])
    assert told["introspection_signed_response_alg"] == "ES256"


@pytest.mark.parametrize(
    ("profile", "method", "pushes", "bound"),
    [
        ("fapi", "private_key_jwt", True, True),
        ("standard", "private_key_jwt", True, True),
        ("standard", "none", False, True),
        ("compat", "private_key_jwt", False, False),
        ("compat", "client_secret_basic", False, False),
    ],
)
async def test_what_a_profile_demands_is_told(
    issuer: Issuer, profile: str, method: str, pushes: bool, bound: bool
) -> None:
    """RFC 7591 §3.2.1: the values in force (RFC 9126 §6, RFC 9449 §5.2), whatever was asked."""
    key = SigningKey.generate("ES256")
    keys = {"jwks": {"keys": [key.published_jwk()]}} if method == "private_key_jwt" else {}
    for asked in ({}, {"require_pushed_authorization_requests": False, "dpop_bound_access_tokens": False}):
        _, told = await register(issuer, profile, key=key, token_endpoint_auth_method=method, **keys, **asked)
        for one in (told, (await manage(issuer, told, "GET")).json()):
            assert one["require_pushed_authorization_requests"] is pushes
            assert one["dpop_bound_access_tokens"] is bound
    asked = {"require_pushed_authorization_requests": True, "dpop_bound_access_tokens": True}
    _, told = await register(issuer, profile, key=key, token_endpoint_auth_method=method, **keys, **asked)
    assert told["require_pushed_authorization_requests"] is told["dpop_bound_access_tokens"] is True


async def test_a_default_level_that_nobody_reaches_here_is_not_registered(issuer: Issuer) -> None:
    """OpenID Connect Registration §2: kept and echoed, it would promise a level that no request asks for."""
    keys = {"jwks": {"keys": [SigningKey.generate("ES256").published_jwk()]}}
    for levels, status in ((["gold"], 400), (["mfa", "gold"], 400), (["mfa", "pwd"], 201)):
        body = {"redirect_uris": [CALLBACK], "default_acr_values": levels, **keys}
        answer = await post(issuer, await invitation(issuer, "standard"), body)
        assert answer.status_code == status, answer.text
        assert status == 201 or answer.json()["error"] == "invalid_client_metadata"


@pytest.mark.parametrize("profile", ["fapi", "standard"])
async def test_a_request_uri_that_would_never_be_read_is_not_registered(issuer: Issuer, profile: str) -> None:
    """openid.md §1: a remote request is fetched in `compat` alone; elsewhere the address would promise in vain."""
    body = {"redirect_uris": [CALLBACK], "request_uris": ["https://client.example/request.jwt"],
            "jwks": {"keys": [SigningKey.generate("ES256").published_jwk()]}}  # fmt: skip
    answer = await post(issuer, await invitation(issuer, profile), body)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client_metadata")


@pytest.mark.parametrize(
    "uris",
    [
        ["http://127.0.0.1/cb"],
        ["http://[::1]:8000/cb"],
        ["http://localhost/cb"],
        [CALLBACK, "http://127.0.0.1/cb"],
    ],
)
async def test_native_apps_share_no_pairwise_subject(
    issuer: Issuer, uris: list[str], listener: Listener
) -> None:
    """OpenID Connect Core §8.1: loopback is everybody's host, so nobody's sector."""
    body = {"redirect_uris": uris, "application_type": "native", "subject_type": "pairwise"}
    answer = await post(issuer, await invitation(issuer), body)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client_metadata")
    listener.pages["/sector"] = json.dumps(uris).encode()
    body["sector_identifier_uri"] = listener.url("/sector")
    assert (await post(issuer, await invitation(issuer), body)).status_code == 201
    assert (
        await post(issuer, await invitation(issuer), {**body, "subject_type": "public"})
    ).status_code == 201

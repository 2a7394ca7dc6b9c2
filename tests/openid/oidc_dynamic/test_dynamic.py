"""OpenID Connect Dynamic: one test per judged module (openid.md §6), by clients that register themselves."""

import asyncio
import hashlib
import json
import secrets
from datetime import timedelta
from typing import Any

import httpx
import msgspec
import pytest

from libs.common.access.signatures import SigningKey, sign_compact
from libs.common.database.pool import Database
from libs.common.values.identifiers import public_id
from services.identity.openid import client_store
from services.identity.openid.clients import ClientMetadata
from services.identity.openid.guarded_fetcher import GuardedFetcher
from services.identity.openid.logos import read_due
from tests.openid.listener import Listener
from tests.openid.logos.pictures import picture
from tests.openid.party import Issuer, Party, Somebody, callback, claims_of, header_of

CALLBACK = "https://client.example/cb"


async def invitation(issuer: Issuer, profile: str = "compat", uses: int = 1) -> str:
    token, now = secrets.token_urlsafe(24), issuer.clock()
    async with issuer.db.transaction(issuer.caisse) as tx:
        await client_store.add_initial_token(
            tx, hashlib.sha256(token.encode()).digest(), profile=profile, uses=uses,
            expires_at=now + timedelta(days=1), now=now,
        )  # fmt: skip
    return token


async def post(issuer: Issuer, token: str, body: dict[str, Any]) -> httpx.Response:
    async with issuer.http() as http:
        return await http.post(
            f"/{issuer.caisse}/register", json=body, headers={"Authorization": f"Bearer {token}"}
        )


async def register(issuer: Issuer, profile: str = "compat", **metadata: Any) -> tuple[Party, dict[str, Any]]:
    key = metadata.pop("key", None) or SigningKey.generate("ES256")
    body = {"redirect_uris": [CALLBACK], "client_name": "Dynamique", **metadata}
    answer = await post(issuer, await invitation(issuer, profile), body)
    assert answer.status_code == 201, answer.text
    told = answer.json()
    fields = {name: value for name, value in told.items() if name in ClientMetadata.__struct_fields__}
    party = Party(
        issuer, told["client_id"], key, msgspec.convert(fields, ClientMetadata), told.get("client_secret")
    )
    return party, told


@pytest.fixture
async def who(issuer: Issuer) -> Somebody:
    return await (await issuer.person()).sign_in()


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


async def manage(issuer: Issuer, told: dict[str, Any], method: str, body: dict[str, Any] | None = None,
                 token: str | None = None) -> httpx.Response:  # fmt: skip
    headers = {"Authorization": f"Bearer {token or told['registration_access_token']}"}
    async with issuer.http() as http:
        return await http.request(method, told["registration_client_uri"], json=body, headers=headers)


async def test_reading_updating_and_deleting(issuer: Issuer, who: Somebody) -> None:
    client, told = await register(issuer)
    assert (await manage(issuer, told, "GET")).json()["client_name"] == "Dynamique"
    changed = {**told, "client_name": "Renommé"}
    assert (await manage(issuer, told, "PUT", changed)).json()["client_name"] == "Renommé"
    tokens = await client.tokens(who)
    assert (await manage(issuer, told, "DELETE")).status_code == 204
    assert (await manage(issuer, told, "GET")).status_code == 401
    assert (await client.userinfo(tokens["access_token"])).status_code == 401
    assert (await client.refresh("x")).json()["error"] == "invalid_client"


async def test_an_update_revalidates_the_whole_client(issuer: Issuer) -> None:
    """openid.md §4, "registration tampering"."""
    _, told = await register(issuer, "standard", token_endpoint_auth_method="none")
    for wrong in (
        {"redirect_uris": ["https://client.example/cb#x"]},
        {"redirect_uris": []},
        {"token_endpoint_auth_method": "client_secret_basic"},
        {"grant_types": ["password"]},
        {"response_types": ["token"]},
        {"jwks": {"keys": [SigningKey.generate("ES256").public_jwk | {"d": "AA"}]}},
        {"logo_uri": "javascript:alert(1)"},
        {"backchannel_logout_uri": "http://intranet/logout"},
        {"client_id": "another"},
    ):
        answer = await manage(issuer, told, "PUT", {**told, **wrong})
        assert answer.status_code == 400, wrong
    assert (await manage(issuer, told, "PUT", {**told, "profile": "compat"})).json()["profile"] == "standard"


async def test_another_client_s_token_manages_nothing(issuer: Issuer) -> None:
    _, mine = await register(issuer)
    _, theirs = await register(issuer)
    assert (await manage(issuer, theirs, "GET", token=mine["registration_access_token"])).status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        b"\xff", b'{"client_name":"\xff"}', b'{"client_name":"\\u0000"}', b'{"jwks":' * 5000 + b"1" + b"}" * 5000,
        b'{"jwks":' + b"[" * 900 + b"]" * 900 + b"}", b"[]", b"", b'{"grant_types":5}', b'{"grant_types":[{}]}',
        b'{"grant_types":{"a":1}}', b'{"scope":{}}', b'{"redirect_uris":"https://a.example"}', b'{"jwks":{"keys":[1]}}',
        b'{"jwks":{"keys":{}}}', b'{"default_max_age":' + b"9" * 4000 + b"}",
    ],
    ids=lambda raw: ascii(raw[:30]),
)  # fmt: skip
async def test_metadata_that_cannot_be_read_or_kept_are_refused(issuer: Issuer, body: bytes) -> None:
    token = await invitation(issuer)
    async with issuer.http() as http:
        answer = await http.post(
            f"/{issuer.caisse}/register", content=body, headers={"Authorization": f"Bearer {token}"}
        )
    refusals = {"invalid_client_metadata", "invalid_redirect_uri"}
    assert answer.status_code == 400 and answer.json()["error"] in refusals, answer.text


async def test_a_client_cannot_update_itself_to_what_cannot_be_read(issuer: Issuer) -> None:
    party, told = await register(issuer)
    for body in (b'{"client_id":"\xff"}', b'{"client_id":' * 5000, b'{"client_name":"\\u0000"}'):
        async with issuer.http() as http:
            answer = await http.put(
                f"/{issuer.caisse}/register/{party.client_id}",
                content=body,
                headers={"Authorization": f"Bearer {told['registration_access_token']}"},
            )
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client_metadata")


async def test_a_client_that_takes_a_secret_is_given_one(issuer: Issuer, who: Somebody) -> None:
    """RFC 7592 §2.2, RFC 7591 §3.2.1: else it is locked out by its own update."""
    key = SigningKey.generate()
    _, told = await register(
        issuer, key=key, jwks={"keys": [key.published_jwk()]}, token_endpoint_auth_method="private_key_jwt"
    )
    answer = await manage(issuer, told, "PUT", {**told, "token_endpoint_auth_method": "client_secret_basic"})
    now = answer.json()
    assert (answer.status_code, now["client_secret_expires_at"]) == (200, 0)
    metadata = msgspec.convert(
        {n: v for n, v in now.items() if n in ClientMetadata.__struct_fields__}, ClientMetadata
    )
    client = Party(issuer, told["client_id"], key, metadata, now["client_secret"])
    assert "id_token" in await client.tokens(who)

    again = (await manage(issuer, told, "PUT", {**now, "client_name": "Autre"})).json()
    assert "client_secret" not in again, "kept, and only its hash is known"
    assert "id_token" in await client.tokens(who)
    await manage(issuer, told, "PUT", {**told, "token_endpoint_auth_method": "private_key_jwt"})
    back = (
        await manage(issuer, told, "PUT", {**told, "token_endpoint_auth_method": "client_secret_basic"})
    ).json()
    assert back["client_secret"] != now["client_secret"]
    assert (await client.refresh("x")).json()["error"] == "invalid_client", "the former secret is dead"


async def test_a_secret_that_is_sent_back_is_the_client_s(issuer: Issuer) -> None:
    """RFC 7592 §2.2: it must match the one in force; a client does not choose its own."""
    _, told = await register(issuer)
    _, keyless = await register(issuer, "standard", token_endpoint_auth_method="none")
    for one, secret in ((told, "mine"), (told, 5), (told, ""), (told, {}), (keyless, "mine")):
        answer = await manage(issuer, one, "PUT", {**one, "client_secret": secret})
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client_metadata"), secret
    assert (await manage(issuer, told, "PUT", {**told, "client_name": "Le même"})).status_code == 200


@pytest.mark.parametrize("profile", ["standard", "compat"])
async def test_a_client_that_proves_nothing_more_loses_its_grants(
    issuer: Issuer, who: Somebody, profile: str
) -> None:
    """A confidential client's refresh tokens hang on its own proof alone (RFC 6749 §6, RFC 9449 §5)."""
    key = SigningKey.generate()
    grants = ["authorization_code", "refresh_token"]
    client, told = await register(
        issuer, profile, key=key, jwks={"keys": [key.published_jwk()]}, grant_types=grants,
        token_endpoint_auth_method="private_key_jwt",
    )  # fmt: skip
    before = await client.tokens(who)
    pending = await client.code(who)
    assert (
        await manage(issuer, told, "PUT", {**told, "token_endpoint_auth_method": "none"})
    ).status_code == 200
    public = msgspec.structs.replace(client.metadata, token_endpoint_auth_method="none")
    thief = Party(issuer, client.client_id, SigningKey.generate(), public, verifier=client.verifier)
    assert (await thief.refresh(before["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await thief.redeem(pending)).json()["error"] == "invalid_grant"
    assert (await client.userinfo(before["access_token"])).status_code == 401
    issuer.clock.forward(seconds=1)
    if profile == "standard":
        assert "refresh_token" in await thief.tokens(who), "what is given to it as it is now"


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

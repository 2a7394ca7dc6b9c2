"""RFC 7592: what a client may do to itself, by its registration access token."""

import asyncio
import hashlib

import msgspec
import pytest

from libs.common.access.signatures import SigningKey
from services.identity.openid import client_store
from services.identity.openid.clients import ClientMetadata
from services.identity.openid.write_client import AT_THE_COMMAND_LINE, ITSELF, rotate_secret, update_client
from tests.openid.lines.test_lines_of_tokens import somebody_awaits_a_row
from tests.openid.oidc_dynamic.registering import invitation, manage, register
from tests.openid.party import Issuer, Party, Somebody, callback


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
    # Its profile demanded of it to push, which it sends back as it was told: no wish of its own.
    proofless = {"token_endpoint_auth_method": "none"}
    assert (await manage(issuer, told, "PUT", {**told, **proofless})).status_code == 200
    public = msgspec.structs.replace(client.metadata, token_endpoint_auth_method="none")
    thief = Party(issuer, client.client_id, SigningKey.generate(), public, verifier=client.verifier)
    assert (await thief.refresh(before["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await thief.redeem(pending)).json()["error"] == "invalid_grant"
    assert (await client.userinfo(before["access_token"])).status_code == 401
    issuer.clock.forward(seconds=1)
    if profile == "standard":
        assert "refresh_token" in await thief.tokens(who), "what is given to it as it is now"


async def test_answers_somewhere_else_are_agreed_to_anew(issuer: Issuer, who: Somebody) -> None:
    """Whoever finds a registration access token has no answer of the people who agreed to its client: the page said
    where they go.
    """
    client, told = await register(issuer)
    assert await client.code(who)
    elsewhere = "https://thief.example/cb"
    changed = {**told, "redirect_uris": [*told["redirect_uris"], elsewhere]}
    assert (await manage(issuer, told, "PUT", changed)).status_code == 200
    silent = callback(await client.authorize(who, redirect_uri=elsewhere, prompt="none"))
    assert silent["error"] == "consent_required"
    # A name, a logo, a new key: the client's own affair.
    assert await client.code(who)
    assert (await manage(issuer, told, "PUT", {**changed, "client_name": "Renommé"})).status_code == 200
    assert "code" in callback(await client.authorize(who, prompt="none"))


async def test_a_secret_changed_during_an_update_stays_changed(issuer: Issuer) -> None:
    """Else whoever stole the former one keeps it, by updating the client again and again while it is taken away."""
    client, told = await register(issuer, token_endpoint_auth_method="client_secret_post")
    token_hash = hashlib.sha256(told["registration_access_token"].encode()).digest()
    async with issuer.db.transaction(issuer.caisse) as tx:
        before = await client_store.registered_with(tx, client.client_id, token_hash)
        assert before is not None
        async with issuer.db.transaction(issuer.caisse) as other:
            assert await rotate_secret(other, client.client_id, now=issuer.clock())
        await update_client(tx, before, client.metadata, now=issuer.clock(), plain_http=True, by=ITSELF)
    assert (await client.refresh("x")).json()["error"] == "invalid_client", "the former secret is dead"


async def test_a_profile_changed_during_an_update_stays_changed(issuer: Issuer) -> None:
    """An operator takes `compat` back while the client's update waits for the row."""
    client, told = await register(issuer, token_endpoint_auth_method="none")
    async with issuer.db.transaction(issuer.caisse) as tx:
        known = await client_store.held(tx, client.client_id)
        assert known is not None and known.profile == "compat"
        safer = msgspec.structs.replace(
            known.metadata, profile="standard", id_token_signed_response_alg="ES256"
        )
        await update_client(tx, known, safer, now=issuer.clock(), plain_http=True, by=AT_THE_COMMAND_LINE)
        updating = asyncio.create_task(manage(issuer, told, "PUT", told))
        await somebody_awaits_a_row(issuer)
    assert (await updating).status_code == 401, "what it was judged by is gone"
    assert (await registered(issuer, client.client_id)).profile == "standard"


async def given_by_an_operator(issuer: Issuer, client_id: str, **given: object) -> None:
    async with issuer.db.transaction(issuer.caisse) as tx:
        known = await client_store.held(tx, client_id)
        assert known is not None
        metadata = msgspec.structs.replace(known.metadata, **given)
        await update_client(tx, known, metadata, now=issuer.clock(), plain_http=True, by=AT_THE_COMMAND_LINE)


async def registered(issuer: Issuer, client_id: str) -> ClientMetadata:
    async with issuer.db.transaction(issuer.caisse) as tx:
        known = await client_store.held(tx, client_id)
    assert known is not None
    return known.metadata


async def test_an_update_neither_loses_nor_widens_what_an_operator_gave(
    issuer: Issuer, who: Somebody
) -> None:
    """RFC 7592 §2.2: the client's PUT replaces the client's own members, and no others."""
    key = SigningKey.generate()
    keys = {"key": key, "jwks": {"keys": [key.published_jwk()]}}
    client, told = await register(issuer, "standard", token_endpoint_auth_method="private_key_jwt", **keys)
    given = {"resources": (issuer.adherent,), "introspects": (issuer.documents,), "consent": "implicit"}
    more = {"scope": told["scope"] + " declaration.read", **given}
    await given_by_an_operator(issuer, client.client_id, **more)
    tokens = await client.tokens(who, scope="openid declaration.read", resource=issuer.adherent)
    widened = {
        "client_name": "Renommé", "scope": told["scope"] + " declaration.submit payment.order", "profile": "compat",
        "resources": [issuer.documents], "introspects": [issuer.adherent],
    }  # fmt: skip

    for body in (told | widened, {name: said for name, said in told.items() if name != "scope"}):
        assert (await manage(issuer, told, "PUT", body)).status_code == 200
        now = await registered(issuer, client.client_id)
        assert {name: getattr(now, name) for name in given} == given
        assert (now.profile, "declaration.read" in now.scope.split()) == ("standard", True)
        assert not {"declaration.submit", "payment.order"} & set(now.scope.split())
    introspected = (await client.post("/introspect", {"token": tokens["access_token"]})).json()
    assert introspected["active"] is True, "nothing was lost, so no floor was raised"
    # Its own scopes are its own to give up.
    assert (await manage(issuer, told, "PUT", {**told, "scope": "openid"})).status_code == 200
    assert (await registered(issuer, client.client_id)).scope == "openid declaration.read"


async def test_what_an_operator_gave_goes_with_the_proof_it_was_given_for(issuer: Issuer) -> None:
    """Whoever found a registration access token may write other keys, and proves then to be the client."""
    key, another = SigningKey.generate(), SigningKey.generate()
    keys = {"key": key, "jwks": {"keys": [key.published_jwk()]}}
    client, told = await register(issuer, "standard", token_endpoint_auth_method="private_key_jwt", **keys)
    given = {"resources": (issuer.adherent,), "introspects": (issuer.documents,), "consent": "implicit"}
    await given_by_an_operator(issuer, client.client_id, scope=told["scope"] + " declaration.read", **given)

    stolen = {**told, "jwks": {"keys": [another.published_jwk()]}}
    assert (await manage(issuer, told, "PUT", stolen)).status_code == 200

    now = await registered(issuer, client.client_id)
    assert (now.resources, now.introspects, now.consent) == ((), (), "explicit")
    assert set(now.scope.split()) == set(told["scope"].split())


async def test_consent_implied_for_one_address_is_implied_for_no_other(issuer: Issuer, who: Somebody) -> None:
    """An operator vouched for who is answered there: an address that the client gives itself is nobody's yet."""
    client, told = await register(issuer)
    await given_by_an_operator(issuer, client.client_id, consent="implicit")
    elsewhere = [*told["redirect_uris"], "https://thief.example/cb"]

    assert (await manage(issuer, told, "PUT", {**told, "redirect_uris": elsewhere})).status_code == 200

    assert (await registered(issuer, client.client_id)).consent == "explicit"
    silent = callback(await client.authorize(who, redirect_uri=elsewhere[-1], prompt="none"))
    assert silent["error"] == "consent_required"

"""openid.md §3 again, lines 16 to 30: tokens, introspection, keys, consent."""

import asyncio
from typing import Any
from urllib.parse import urlencode

import pytest

from libs.common.access.signatures import SigningKey, sign_compact
from services.identity.openid.client_rules import InvalidClientMetadata
from services.identity.openid.clients import CLIENT_CREDENTIALS, CODE
from tests.openid.party import Issuer, Party, Somebody, callback, claims_of, discovered, header_of


async def test_line_16_public_refresh_is_rotated_and_the_family_dies_on_reuse(
    public: Party, who: Somebody
) -> None:
    first = (await public.tokens(who))["refresh_token"]
    second = (await public.refresh(first)).json()["refresh_token"]
    assert second != first
    assert (await public.refresh(first)).json()["error"] == "invalid_grant"
    assert (await public.refresh(second)).json()["error"] == "invalid_grant"


async def test_line_16_of_fifty_refreshes_one_wins_and_the_family_dies(public: Party, who: Somebody) -> None:
    token = (await public.tokens(who))["refresh_token"]
    answers = await asyncio.gather(*(public.refresh(token) for _ in range(50)))
    won = [answer.json() for answer in answers if answer.status_code == 200]
    assert len(won) == 1
    assert (await public.refresh(won[0]["refresh_token"])).json()["error"] == "invalid_grant"


async def test_line_16_scope_never_widens(client: Party, who: Somebody) -> None:
    tokens = await client.tokens(who, scope="openid email")
    wider = await client.refresh(tokens["refresh_token"], scope="openid email profile")
    assert wider.json()["error"] == "invalid_scope"
    narrow = await client.refresh(tokens["refresh_token"], scope="openid")
    assert narrow.json()["scope"] == "openid"


async def test_line_16_an_idle_token_expires(issuer: Issuer, who: Somebody) -> None:
    client = await issuer.client(consent="explicit")
    tokens = await client.tokens(who, scope="openid offline_access")
    issuer.clock.forward(days=13)
    assert (await client.refresh(tokens["refresh_token"])).status_code == 200
    issuer.clock.forward(days=13)
    assert (await client.refresh(tokens["refresh_token"])).status_code == 200
    issuer.clock.forward(days=15)
    assert (await client.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"


async def test_line_16_a_public_refresh_token_is_bound_to_its_key(public: Party, who: Somebody) -> None:
    token = (await public.tokens(who))["refresh_token"]
    public.dpop = SigningKey.generate("ES256")
    assert (await public.refresh(token)).json()["error"] == "invalid_dpop_proof"


async def test_line_17_shape_of_an_access_token(client: Party, who: Somebody, issuer: Issuer) -> None:
    for resource in (None, issuer.adherent, issuer.documents):
        token = (await client.tokens(who, resource=resource, scope="openid declaration.read"))["access_token"]
        claims = claims_of(token)
        assert header_of(token)["typ"] == "at+jwt"
        assert claims["aud"] == (resource or issuer.url)
        assert 0 < claims["exp"] - claims["iat"] <= 600


async def test_line_17_one_audience_a_token(client: Party, who: Somebody, issuer: Issuer) -> None:
    code = await client.code(who)
    body = urlencode([
        *client.credentials().items(), ("grant_type", CODE), ("code", code),
        ("redirect_uri", client.metadata.redirect_uris[0]), ("code_verifier", client.verifier),
        ("resource", issuer.adherent), ("resource", issuer.documents),
    ])  # fmt: skip
    headers = {"Content-Type": "application/x-www-form-urlencoded", "DPoP": client.proof("/token")}
    async with issuer.http() as http:
        answer = await http.post(f"/{issuer.caisse}/token", content=body, headers=headers)
    assert answer.json()["error"] == "invalid_target"


async def test_line_22_no_http_endpoint_in_metadata(issuer: Issuer) -> None:
    told = await discovered(issuer)
    addresses = [
        value for name, value in told.items() if name.endswith(("_endpoint", "_uri")) or name == "issuer"
    ]
    assert len(addresses) > 8 and all(address.startswith("https://") for address in addresses)


async def test_line_22_cors_on_the_back_channel_and_never_on_authorize(client: Party, who: Somebody) -> None:
    assert (await client.push()).headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-origin" not in (await client.authorize(who)).headers
    async with client.issuer.http() as http:
        asked = await http.options(
            f"/{client.issuer.caisse}/token", headers={"Origin": "https://client.example"}
        )
        closed = await http.options(
            f"/{client.issuer.caisse}/authorize", headers={"Origin": "https://x.example"}
        )
    assert asked.status_code == 204 and "DPoP" in asked.headers["access-control-allow-headers"]
    assert "access-control-allow-origin" not in closed.headers


async def test_line_23_a_service_s_subject_is_never_a_person_s(issuer: Issuer) -> None:
    import asyncpg

    service = await issuer.client(grant_types=(CLIENT_CREDENTIALS,), response_types=(), redirect_uris=())
    token = (await service.post("/token", {"grant_type": CLIENT_CREDENTIALS})).json()["access_token"]
    assert claims_of(token)["sub"] == service.client_id
    for name in ("per_01M858D2T4EMH85J4FA5G8BJY9", "adh_X", "cab_X", "mch_X"):
        from services.identity.openid import client_store
        from services.identity.openid.clients import Client
        from services.identity.openid.write_client import register_client

        with pytest.raises(InvalidClientMetadata):
            async with issuer.db.transaction(issuer.caisse) as tx:
                await register_client(tx, service.metadata, now=issuer.clock(), client_id=name)
        usurper = Client(client_id=name, state="active", secret_hash=None, metadata=service.metadata)
        with pytest.raises(asyncpg.CheckViolationError):  # and the table refuses what a path of ours forgets
            async with issuer.db.transaction(issuer.caisse) as tx:
                await client_store.add(tx, usurper, "operator", None, issuer.clock())


async def test_line_24_introspection_and_revocation_are_authenticated(client: Party, public: Party) -> None:
    for path in ("/introspect", "/revoke"):
        assert (await client.post(path, {"token": "x"}, credentials={})).status_code == 401
    assert (await public.post("/introspect", {"token": "x"})).status_code == 401


async def test_a_token_is_needed_to_ask_about_one(client: Party) -> None:
    """RFC 7662 §2.1, RFC 7009 §2.1: a client that forgot it hears so."""
    for path in ("/introspect", "/revoke"):
        for form in ({}, {"token": ""}):
            answer = await client.post(path, form)
            assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_line_24_a_caller_sees_only_its_audience(client: Party, who: Somebody, issuer: Issuer) -> None:
    token = (await client.tokens(who, scope="openid declaration.read", resource=issuer.adherent))[
        "access_token"
    ]
    quiet: dict[str, Any] = {"grant_types": (CLIENT_CREDENTIALS,), "response_types": (), "redirect_uris": ()}
    theirs = await issuer.client(**quiet, introspects=(issuer.adherent,))
    other = await issuer.client(**quiet, introspects=(issuer.documents,))
    assert (await theirs.post("/introspect", {"token": token})).json()["active"] is True
    assert (await other.post("/introspect", {"token": token})).json() == {"active": False}
    await other.post("/revoke", {"token": token})
    assert (await theirs.post("/introspect", {"token": token})).json()["active"] is True


@pytest.mark.parametrize(
    "accept", ["application/token-introspection+jwt", "text/html, Application/Token-Introspection+JWT"]
)
async def test_line_24_signed_introspection_is_addressed_to_its_caller(
    client: Party, who: Somebody, accept: str
) -> None:
    """A media type has no case (RFC 9110 §8.3.1)."""
    token = (await client.tokens(who))["access_token"]
    answer = await client.post("/introspect", {"token": token}, headers={"Accept": accept})
    claims = claims_of(answer.text)
    assert answer.headers["content-type"].startswith("application/token-introspection+jwt")
    assert header_of(answer.text)["typ"] == "token-introspection+jwt"
    assert (claims["aud"], claims["iss"]) == (client.client_id, client.issuer.url)
    assert claims["token_introspection"]["active"] is True


@pytest.mark.parametrize(
    "wrong", [{"exp": -40}, {"exp": 3700}, {"nbf": 3700}, {"nbf": -3700}, {"aud": "https://x.example"}]
)
async def test_line_25_dates_and_audience_of_a_request_object(client: Party, wrong: dict[str, Any]) -> None:
    now = client.now()
    shifted = {name: now + value if isinstance(value, int) else value for name, value in wrong.items()}
    inside = {"iss": client.client_id, "aud": client.issuer.url, "exp": now + 300, "nbf": now,
              **client.request(), **shifted}  # fmt: skip
    signed = sign_compact(client.key, {"kid": client.key.kid}, inside)
    assert (await client.post("/par", {"request": signed})).json()["error"] == "invalid_request_object"


async def test_line_26_an_essential_level_is_reached_or_refused(issuer: Issuer, who: Somebody) -> None:
    import json

    client = await issuer.client()
    asked = json.dumps({"id_token": {"acr": {"essential": True, "values": ["mfa"]}}})
    answer = await client.authorize(who, claims=asked)
    flow = answer.headers["location"].partition("flow=")[2]
    issuer.clock.forward(seconds=1)
    await who.sign_in()
    unmet = callback(await who.get(f"/{issuer.caisse}/authorize/continue?flow={flow}"))
    assert unmet["error"] == "unmet_authentication_requirements"
    silent = callback(await client.authorize(await who.sign_in(), claims=asked, prompt="none"))
    # OpenID Connect Core §3.1.2.6: a page would raise the level, and none may be shown.
    assert silent["error"] == "unmet_authentication_requirements"
    strong = await (await issuer.person()).sign_in(acr="mfa", amr=["pwd", "otp"])
    assert claims_of((await client.tokens(strong, claims=asked))["id_token"])["acr"] == "mfa"


@pytest.mark.parametrize(("ahead", "status"), [(10, 201), (30, 201), (61, 401), (90, 401)])
async def test_line_27_skew(client: Party, ahead: int, status: int) -> None:
    signed = client.assertion(iat=client.now() + ahead, exp=client.now() + 120)
    said = {**client.credentials(), "client_assertion": signed}
    assert (await client.post("/par", client.request(), credentials=said)).status_code == status


async def test_line_28_private_keys_are_sealed_at_rest(issuer: Issuer) -> None:
    async with issuer.db.transaction(issuer.caisse) as tx:
        rows = await tx.fetch("SELECT private_key_encrypted FROM signing_key WHERE state <> 'archived'")
    assert rows and all(b"PRIVATE" not in row[0] and row[0][:1] == b"\x01" for row in rows)


async def test_line_28_the_overlap_outlives_every_token() -> None:
    from services.identity.openid.tokens import ACCESS_TOKEN_LIFE, ID_TOKEN_LIFE
    from services.identity.signing_keys.rotation import VERIFIES_FOR

    assert max(ACCESS_TOKEN_LIFE, ID_TOKEN_LIFE) < VERIFIES_FOR


async def test_line_29_consent_names_client_firm_rights_and_duration(issuer: Issuer, who: Somebody) -> None:
    client = await issuer.client(consent="explicit", client_name="Paie Facile")
    page = await client.authorize(who, scope="openid declaration.read")
    for shown in (
        "Paie Facile",
        "732 829 320 00074",
        "Lire les déclarations de salaires",
        "Le temps de votre connexion, 12 heures au plus.",
        "Retenu jusqu’au",
    ):
        assert shown in page.text.replace("\u202f", " ").replace("\xa0", " "), shown


async def test_line_29_consent_is_remembered_and_its_revocation_bites_at_once(
    issuer: Issuer, who: Somebody
) -> None:
    from services.identity.openid import consents

    client = await issuer.client(consent="explicit")
    tokens = await client.tokens(who, scope="openid email")
    assert (await client.authorize(who, scope="openid")).status_code == 303
    assert (await client.authorize(who, scope="openid email profile")).status_code == 200
    async with issuer.db.transaction(issuer.caisse) as tx:
        (given,) = await consents.given_by(tx, who.id, issuer.clock())
        assert given.client_name == "Logiciel de test"
        assert await consents.revoke(tx, who.id, given.id, now=issuer.clock())
    assert (await client.post("/introspect", {"token": tokens["access_token"]})).json() == {"active": False}
    assert (await client.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await client.authorize(who, scope="openid")).status_code == 200


@pytest.mark.parametrize(
    ("asked", "error"), [({}, "access_denied"), ({"prompt": "none"}, "consent_required")]
)
async def test_line_29_a_consent_taken_back_meanwhile_gives_no_code(
    issuer: Issuer, who: Somebody, asked: dict[str, str], error: str
) -> None:
    """The decision read it before it was gone; nothing is granted, and the client hears why."""
    from services.identity.openid import consents

    client = await issuer.client(consent="explicit")
    await client.tokens(who, scope="openid email")
    async with issuer.db.transaction(issuer.caisse) as tx:
        (given,) = await consents.given_by(tx, who.id, issuer.clock())
        assert await consents.revoke(tx, who.id, given.id, now=issuer.clock())
        deciding = asyncio.create_task(client.authorize(who, scope="openid", **asked))
        await somebody_awaits_a_row(issuer)
    assert callback(await deciding)["error"] == error
    async with issuer.db.transaction(issuer.caisse) as tx:
        living = "SELECT count(*) FROM authorization_grant WHERE person_id = $1 AND revoked_at IS NULL"
        assert await tx.fetchval(living, who.id) == 0


async def somebody_awaits_a_row(issuer: Issuer) -> None:
    """Returns once a statement waits for the transaction that holds its row."""
    async with asyncio.timeout(10):
        while not await issuer.db.one_statement(issuer.caisse).fetchval(  # noqa: ASYNC110
            "SELECT EXISTS (SELECT FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock')"
        ):
            await asyncio.sleep(0.02)


async def test_line_30_unknown_details_are_refused(public: Party, who: Somebody) -> None:
    for wrong in ('[{"type":"payment"}]', "not json", '[{"type":"adherent"}]', "[]",
                  '[{"type":"adherent","identifier":"grand-ouest:1"}]'):  # fmt: skip
        answer = callback(await public.authorize(who, authorization_details=wrong))
        assert answer["error"] == "invalid_authorization_details", wrong


async def test_line_30_the_firm_may_be_named(issuer: Issuer) -> None:
    who = await (await issuer.person(firms=2)).sign_in()
    client = await issuer.client()
    assert 'name="firm"' in (await client.authorize(who)).text
    async with issuer.db.transaction(issuer.caisse) as tx:
        number = await tx.fetchval("SELECT adherent_number FROM adherent WHERE id = $1", who.accounts[1][1])
    named = f'[{{"type":"adherent","identifier":"{issuer.caisse}:{number}"}}]'
    tokens = await client.tokens(who, authorization_details=named)
    from libs.common.values.identifiers import public_id

    assert claims_of(tokens["access_token"])["adherent"] == public_id("adh", who.accounts[1][1])
    other = await issuer.person()
    await other.sign_in()
    assert callback(await client.authorize(other, authorization_details=named))["error"] == "access_denied"

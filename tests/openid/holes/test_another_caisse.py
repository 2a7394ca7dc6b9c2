"""Nothing of one caisse opens anything of another, though the client has one name and one key in both, and the person
a session in both.
"""

import secrets
from dataclasses import replace
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest

from libs.common.access.signatures import sign_compact
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.values.caisse_slug import parse_caisse_slug
from services.identity.openid.clients import CODE, REFRESH, TOKEN_EXCHANGE, ClientMetadata
from services.identity.openid.token_exchange import ACCESS_TOKEN, MANDATE
from services.identity.openid.write_client import invite, register_client
from services.identity.sign_in.session import cookie_name
from services.identity.signing_keys.rotation import create_keys
from tests.openid.party import Issuer, Party, Somebody, add_row_of_caisse, callback

METADATA: dict[str, Any] = {
    "grant_types": (CODE, REFRESH, TOKEN_EXCHANGE),
    "consent": "explicit",
    "resources": (),
}


class Twins(NamedTuple):
    """The same client and person, at the first caisse and at the second."""

    here: Party
    there: Party
    who: Somebody
    who_there: Somebody


@pytest.fixture(scope="module")
async def elsewhere(issuer: Issuer, keys: KeyEncryption) -> Issuer:
    slug = parse_caisse_slug(f"caisse-{secrets.token_hex(4)}")
    await add_row_of_caisse(issuer.db, slug, issuer.clock())
    async with issuer.db.transaction(slug) as tx:
        await create_keys(tx, keys, issuer.clock())
    return replace(issuer, caisse=slug)


@pytest.fixture
async def twins(issuer: Issuer, elsewhere: Issuer) -> Twins:
    here = await issuer.client(**METADATA)
    metadata: ClientMetadata = here.metadata
    async with elsewhere.db.transaction(elsewhere.caisse) as tx:
        await register_client(tx, metadata, now=elsewhere.clock(), client_id=here.client_id, plain_http=True)
    there = Party(elsewhere, here.client_id, here.key, metadata, dpop=here.dpop, verifier=here.verifier)
    who = await issuer.person(firms=0)
    who_there = replace(who, issuer=elsewhere, cookies={})
    await who.sign_in()
    await who_there.sign_in()
    return Twins(here, there, who, who_there)


async def test_a_code_is_redeemed_where_it_was_given(twins: Twins) -> None:
    code = await twins.here.code(twins.who)
    assert (await twins.there.redeem(code)).json()["error"] == "invalid_grant"
    assert (await twins.here.redeem(code)).status_code == 200


async def test_tokens_are_good_where_they_were_given(twins: Twins) -> None:
    here, there = twins.here, twins.there
    tokens = await here.tokens(twins.who, scope="openid email offline_access")
    await there.tokens(twins.who_there)
    access, refresh = tokens["access_token"], tokens["refresh_token"]
    assert (await there.refresh(refresh)).json()["error"] == "invalid_grant"
    assert (await there.userinfo(access)).status_code == 401
    for token in (access, refresh):
        assert (await there.post("/introspect", {"token": token})).json() == {"active": False}
        assert (await there.post("/revoke", {"token": token})).status_code == 200
    exchange = {
        "grant_type": TOKEN_EXCHANGE, "subject_token": "mdt_" + "0" * 26, "actor_token": access,
        "subject_token_type": MANDATE,
        "actor_token_type": ACCESS_TOKEN,
    }  # fmt: skip
    assert (await there.post("/token", exchange)).json()["error"] == "invalid_grant"
    assert (await here.userinfo(access)).status_code == 200
    assert (await here.refresh(refresh)).status_code == 200


async def test_proofs_and_signed_requests_name_their_issuer(twins: Twins) -> None:
    here, there = twins.here, twins.there
    assertion = await there.post("/par", there.request(), credentials=here.credentials())
    assert (assertion.status_code, assertion.json()["error"]) == (401, "invalid_client")
    proof = await there.post("/par", there.request(), proof=here.proof("/par"))
    assert proof.json()["error"] == "invalid_dpop_proof"
    now = here.now()
    inside = {"iss": here.client_id, "aud": here.issuer.url, "nbf": now, "exp": now + 60, **here.request()}
    signed = sign_compact(here.key, {"kid": here.key.kid}, inside)
    assert (await there.post("/par", {"request": signed})).json()["error"] == "invalid_request_object"
    assert (await here.post("/par", {"request": signed})).status_code == 201


async def test_what_was_pushed_or_begun_goes_on_where_it_was(twins: Twins) -> None:
    here, there = twins.here, twins.there
    pushed = (await here.push()).json()["request_uri"]
    query = urlencode({"client_id": here.client_id, "request_uri": pushed})
    assert (await twins.who_there.get(f"/{there.issuer.caisse}/authorize?{query}")).status_code == 400
    page = await twins.who.get(f"/{here.issuer.caisse}/authorize?{query}")
    flow = page.text.partition('name="flow" value="')[2].partition('"')[0]
    twins.who_there.cookies |= {name: value for name, value in twins.who.cookies.items() if "browser" in name}
    begun = await twins.who_there.get(f"/{there.issuer.caisse}/authorize/continue?flow={flow}")
    assert flow and begun.status_code == 400 and "location" not in begun.headers


async def test_a_hint_means_nobody_elsewhere(twins: Twins) -> None:
    here, there = twins.here, twins.there
    hint = (await here.tokens(twins.who))["id_token"]
    assert (await there.push(id_token_hint=hint)).json()["error"] == "invalid_request"
    left = await twins.who_there.get(
        f"/{there.issuer.caisse}/end-session?{urlencode({'id_token_hint': hint})}"
    )
    assert left.status_code == 400
    assert "code" in await there.answer(twins.who_there)


async def test_a_session_is_of_its_caisse(twins: Twins) -> None:
    stranger = replace(twins.who_there, cookies={})
    stranger.cookies[cookie_name(stranger.issuer.caisse)] = twins.who.cookies[
        cookie_name(twins.who.issuer.caisse)
    ]
    asked = await twins.there.authorize_url(prompt="none")
    assert callback(await stranger.get(asked))["error"] == "login_required"


async def test_registration_is_of_its_caisse(issuer: Issuer, elsewhere: Issuer) -> None:
    async with issuer.db.transaction(issuer.caisse) as tx:
        token = (await invite(tx, profile="standard", uses=2, days=1, now=issuer.clock())).token
    body = {"redirect_uris": ["https://client.example/cb"], "token_endpoint_auth_method": "none"}
    invited = {"Authorization": f"Bearer {token}"}
    async with issuer.http() as http:
        assert (
            await http.post(f"/{elsewhere.caisse}/register", json=body, headers=invited)
        ).status_code == 401
        told = (await http.post(f"/{issuer.caisse}/register", json=body, headers=invited)).json()
        managing = {"Authorization": f"Bearer {told['registration_access_token']}"}
        address = f"/{{}}/register/{told['client_id']}"
        assert (await http.get(address.format(elsewhere.caisse), headers=managing)).status_code == 401
        assert (await http.delete(address.format(elsewhere.caisse), headers=managing)).status_code == 401
        assert (await http.get(address.format(issuer.caisse), headers=managing)).status_code == 200

"""Discovery advertises exactly what is accepted, both directions, in a caisse that opens everything."""

from typing import Any

import httpx
import pytest

from libs.common.access.signatures import SIGNING_ALGORITHMS, SigningKey
from services.adherent import app as adherent
from services.documents import app as documents
from services.identity.openid import discovery
from services.identity.openid.authorization_request import DISPLAYS, PROMPTS, RESPONSE_MODES
from services.identity.openid.clients import CLIENT_CREDENTIALS, REFRESH, ClientMetadata
from services.identity.openid.foreign_jwt import PROFILE_ALGORITHMS
from services.identity.openid.token import GRANTS
from tests.openid.party import Issuer, Party, Somebody, callback, claims_of, header_of


@pytest.fixture(scope="module", autouse=True)
async def opened_to_compat(issuer: Issuer) -> None:
    """Before the first request, so that no document is remembered."""
    await issuer.opens("compat")


@pytest.fixture
async def told(issuer: Issuer) -> dict[str, Any]:
    async with issuer.http() as http:
        return (await http.get(f"/{issuer.caisse}/.well-known/openid-configuration")).json()


@pytest.fixture
async def public(issuer: Issuer) -> Party:
    return await issuer.client(token_endpoint_auth_method="none")


@pytest.fixture
async def who(issuer: Issuer) -> Somebody:
    return await (await issuer.person()).sign_in()


async def test_discovery_endpoint_verification(issuer: Issuer, told: dict[str, Any]) -> None:
    assert told["issuer"] == issuer.url
    for name in ("authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri"):
        assert told[name].startswith(issuer.url + "/")
    assert told["request_uri_parameter_supported"] is True and told["require_request_uri_registration"]


async def test_the_rfc_8414_address_tells_the_same(issuer: Issuer, told: dict[str, Any]) -> None:
    async with issuer.http() as http:
        other = await http.get(f"/.well-known/oauth-authorization-server/{issuer.caisse}")
    assert other.json() == told


async def test_every_endpoint_advertised_answers(issuer: Issuer, told: dict[str, Any]) -> None:
    async with issuer.http() as http:
        for name, address in told.items():
            if name.endswith("_endpoint") or name == "jwks_uri":
                answers = {(await http.request(method, address)).status_code for method in ("GET", "POST")}
                assert answers - {404, 405} and not answers & {500}, name


async def test_lists_are_those_the_code_reads(told: dict[str, Any]) -> None:
    """The other direction: what the code accepts is what it says."""
    assert set(told["grant_types_supported"]) == set(GRANTS)
    assert told["response_modes_supported"] == list(RESPONSE_MODES)
    assert told["prompt_values_supported"] == list(PROMPTS)
    assert told["display_values_supported"] == list(DISPLAYS)
    accepted = {alg for algorithms in PROFILE_ALGORITHMS.values() for alg in algorithms}
    assert set(told["token_endpoint_auth_signing_alg_values_supported"]) == accepted
    assert set(told["request_object_signing_alg_values_supported"]) == accepted
    assert set(told["id_token_signing_alg_values_supported"]) == set(SIGNING_ALGORITHMS)
    methods = ClientMetadata.__annotations__["token_endpoint_auth_method"].__args__
    assert set(told["token_endpoint_auth_methods_supported"]) == set(methods)


@pytest.mark.parametrize("scope", discovery.SUPPORTED_SCOPES)
async def test_every_scope_advertised_may_be_registered_and_asked(
    issuer: Issuer, who: Somebody, scope: str
) -> None:
    client = await issuer.client(scope=f"openid {scope}")
    assert "code" in await client.answer(who, scope=f"openid {scope}")


@pytest.mark.parametrize("mode", RESPONSE_MODES)
async def test_every_response_mode_advertised_answers(issuer: Issuer, who: Somebody, mode: str) -> None:
    client = await issuer.client()
    answer = await client.authorize(who, response_mode=mode)
    assert answer.status_code == (200 if mode == "form_post" else 303)


@pytest.mark.parametrize("algorithm", SIGNING_ALGORITHMS)
async def test_every_id_token_algorithm_signs(issuer: Issuer, who: Somebody, algorithm: Any) -> None:
    client = await issuer.client(
        id_token_signed_response_alg=algorithm, userinfo_signed_response_alg=algorithm
    )
    tokens = await client.tokens(who)
    assert header_of(tokens["id_token"])["alg"] == algorithm
    assert header_of((await client.userinfo(tokens["access_token"])).text)["alg"] == algorithm


@pytest.mark.parametrize("algorithm", SIGNING_ALGORITHMS)
async def test_every_assertion_algorithm_is_accepted(issuer: Issuer, algorithm: Any) -> None:
    client = await issuer.client(key=SigningKey.generate(algorithm))
    assert (await client.push()).status_code == 201


@pytest.mark.parametrize("acr", ["pwd", "two_step", "mfa"])
async def test_every_acr_advertised_is_told(issuer: Issuer, acr: str) -> None:
    who = await (await issuer.person()).sign_in(acr=acr)
    client = await issuer.client()
    assert claims_of((await client.tokens(who, acr_values=acr))["id_token"])["acr"] == acr


@pytest.mark.parametrize("prompt", PROMPTS)
async def test_every_prompt_advertised_does_something(issuer: Issuer, who: Somebody, prompt: str) -> None:
    client = await issuer.client(consent="explicit")
    answer = await client.authorize(who, prompt=prompt)
    match prompt:
        case "none":
            assert callback(answer)["error"] == "consent_required"
        case "login":
            assert "/sign-in?" in answer.headers["location"]
        case "consent":
            assert 'id="accept"' in answer.text
        case _:
            assert 'id="other"' in answer.text


@pytest.mark.parametrize("prompt", ["create", "none login", "login x"])
async def test_other_prompts_are_refused(public: Party, who: Somebody, prompt: str) -> None:
    assert callback(await public.authorize(who, prompt=prompt))["error"] == "invalid_request"


async def test_select_account_lets_another_person_in(issuer: Issuer, who: Somebody) -> None:
    client = await issuer.client()
    page = await client.authorize(who, prompt="select_account")
    issuer.clock.forward(seconds=1)
    onward = await who.submit(page, choice="other")
    asked = await who.get(onward.headers["location"])
    assert "/sign-in?flow=" in asked.headers["location"]
    other = await issuer.person()
    other.cookies = dict(who.cookies)
    issuer.clock.forward(seconds=1)
    await other.sign_in()
    code = callback(await other.get(onward.headers["location"]))["code"]
    from libs.common.values.identifiers import public_id

    assert claims_of((await client.redeem(code)).json()["id_token"])["sub"] == public_id("per", other.id)


ASKED_OF = {
    "token": ("/token", {"grant_type": REFRESH, "refresh_token": "x"}),
    "revocation": ("/revoke", {"token": "x"}),
    "introspection": ("/introspect", {"token": "x"}),
}


@pytest.mark.parametrize("endpoint", ASKED_OF)
async def test_every_endpoint_takes_the_methods_that_it_advertises_and_no_other(
    issuer: Issuer, told: dict[str, Any], endpoint: str
) -> None:
    path, form = ASKED_OF[endpoint]
    advertised = told[f"{endpoint}_endpoint_auth_methods_supported"]
    for method in ClientMetadata.__annotations__["token_endpoint_auth_method"].__args__:
        profile = "compat" if method.startswith("client_secret") else "standard"
        client = await issuer.client(profile=profile, token_endpoint_auth_method=method)
        answer = await client.post(path, form)
        assert (answer.status_code != 401) == (method in advertised), (method, answer.text)


async def test_a_service_may_ask_by_every_method_advertised(issuer: Issuer, told: dict[str, Any]) -> None:
    quiet: dict[str, Any] = {"grant_types": (CLIENT_CREDENTIALS,), "response_types": (), "redirect_uris": ()}
    for method in told["token_endpoint_auth_methods_supported"]:
        if method == "none":
            continue
        profile = "compat" if method.startswith("client_secret") else "standard"
        client = await issuer.client(**quiet, profile=profile, token_endpoint_auth_method=method)
        answer = await client.post("/token", {"grant_type": CLIENT_CREDENTIALS})
        assert answer.status_code == 200, (method, answer.text)


@pytest.mark.parametrize("algorithm", SIGNING_ALGORITHMS)
async def test_every_introspection_algorithm_signs(
    issuer: Issuer, told: dict[str, Any], algorithm: Any
) -> None:
    assert set(told["introspection_signing_alg_values_supported"]) == set(SIGNING_ALGORITHMS)
    client = await issuer.client(introspection_signed_response_alg=algorithm)
    accept = {"Accept": "application/token-introspection+jwt"}
    answer = await client.post("/introspect", {"token": "x"}, headers=accept)
    assert header_of(answer.text)["alg"] == algorithm


@pytest.mark.parametrize("algorithm", SIGNING_ALGORITHMS)
async def test_proofs_of_the_algorithms_advertised_are_taken_and_no_others(
    issuer: Issuer, told: dict[str, Any], algorithm: Any
) -> None:
    client = await issuer.client()
    client.dpop = SigningKey.generate(algorithm)
    taken = (await client.push()).status_code == 201
    assert taken == (algorithm in told["dpop_signing_alg_values_supported"]) == (algorithm != "RS256")


async def test_every_claim_advertised_is_given_and_no_other(
    issuer: Issuer, who: Somebody, told: dict[str, Any]
) -> None:
    client = await issuer.client()
    tokens = await client.tokens(who, scope="openid profile email address phone", nonce="n")
    about = (await client.userinfo(tokens["access_token"])).json()
    given = claims_of(tokens["id_token"]).keys() | about.keys()
    assert given - {"iss", "aud", "iat", "exp"} == set(told["claims_supported"])


async def test_every_resource_advertised_may_be_asked_and_no_other(
    issuer: Issuer, who: Somebody, told: dict[str, Any]
) -> None:
    assert set(told["protected_resources"]) == {issuer.url, issuer.adherent, issuer.documents}
    client = await issuer.client()
    for resource in told["protected_resources"]:
        tokens = await client.tokens(who, scope="openid declaration.read attestation.read", resource=resource)
        assert claims_of(tokens["access_token"])["aud"] == resource
    other = await client.redeem(await client.code(who), resource=issuer.url + "/other")
    assert other.json()["error"] == "invalid_target"


async def test_every_resource_advertised_says_what_it_is(issuer: Issuer, told: dict[str, Any]) -> None:
    """RFC 9728 §3, §4: the well-known segment before the path, and each names the other."""
    others: dict[str, Any] = {
        issuer.adherent: adherent.create_app(issuer.settings),
        issuer.documents: documents.create_app(issuer.settings),
    }
    for resource in told["protected_resources"]:
        served = httpx.ASGITransport(app=others[resource]) if resource in others else issuer.transport
        base = resource.removesuffix(f"/{issuer.caisse}")
        async with httpx.AsyncClient(transport=served, base_url=base) as http:
            answer = await http.get(f"/.well-known/oauth-protected-resource/{issuer.caisse}")
        assert answer.status_code == 200, resource
        itself = answer.json()
        assert itself["resource"] == resource
        assert itself["authorization_servers"] == [told["issuer"]]
        assert set(itself["scopes_supported"]) <= set(told["scopes_supported"])
        assert itself["dpop_signing_alg_values_supported"] == told["dpop_signing_alg_values_supported"]


@pytest.mark.parametrize("subject_type", ["public", "pairwise"])
async def test_every_subject_type_advertised_may_be_registered(
    issuer: Issuer, who: Somebody, told: dict[str, Any], subject_type: Any
) -> None:
    assert set(told["subject_types_supported"]) == {"public", "pairwise"}
    client = await issuer.client(subject_type=subject_type)
    subject = claims_of((await client.tokens(who))["id_token"])["sub"]
    assert subject.startswith("pw_") == (subject_type == "pairwise")

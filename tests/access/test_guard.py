"""What a route says of its callers is what the guard does, in the words of the specifications."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import httpx
import pytest
from litestar import Litestar, get, post
from litestar.di import NamedDependency, Provide

from libs.common.access.access_token import AccessToken, TokenVerifier
from libs.common.access.dpop import Nonces
from libs.common.access.guard import (
    Scopes,
    TokenCheck,
    guard_by_access,
    hand_out_nonce,
    provide_token,
    resource_metadata,
)
from libs.common.access.proof_memory import ProofsInPostgres
from libs.common.access.revocations import Floors, Verdict
from libs.common.access.service_client import DpopAuth
from libs.common.access.signatures import SigningKey
from libs.common.database.pool import Database
from libs.common.http.application import build_application
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.values.caisse_slug import CaisseSlug
from tests.access.tokens import AUDIENCE_BASE, ISSUER_BASE, IssuerAtHand

URL = f"{AUDIENCE_BASE}/mediterranee/declarations"
METADATA = f"{AUDIENCE_BASE}/.well-known/oauth-protected-resource/mediterranee"


@get("/{caisse:str}/declarations", access=Scopes("declaration.read"))
async def read_declarations(token: NamedDependency[AccessToken]) -> dict[str, Any]:
    return {"for": str(token.adherent_id), "by": str(token.person_id)}


@post("/{caisse:str}/declarations", access=Scopes("declaration.submit", "declaration.correct"))
async def submit(token: NamedDependency[AccessToken]) -> None: ...


@get("/{caisse:str}/iban", access=Scopes("declaration.read", delegable=False))
async def read_iban(token: NamedDependency[AccessToken]) -> None: ...


@get("/{caisse:str}/order", access=Scopes("declaration.read", acr="mfa", max_age=timedelta(minutes=5)))
async def order(token: NamedDependency[AccessToken]) -> None: ...


@get("/{caisse:str}/of-people", access=Scopes("declaration.read", services=False))
async def of_people(token: NamedDependency[AccessToken]) -> None: ...


@get("/open", access="anyone")
async def open_to_all() -> str:
    return "open"


@get("/wrong", access="everyone")
async def misspelt() -> None: ...


@get("/mine", access="session")
async def mine() -> None: ...


class Issuing:
    """An app behind the guard, an issuer, and the answer that introspection gives."""

    def __init__(self, db: Database, keys: KeyEncryption) -> None:
        self.issuer = IssuerAtHand()
        self.began = datetime.now(UTC).timestamp()
        self.seconds = 0.0
        """What the floors take for the time: a busy machine must not make the stream look silent."""
        self.floors = Floors(monotonic=lambda: self.seconds, wall=lambda: self.began + self.seconds)
        self.floors.caught_up = True
        self.floors.measured(datetime.fromtimestamp(self.began, UTC), asked=0.0)
        self.verdict = Verdict.UNKNOWN
        self.asked = 0
        tokens = TokenCheck(
            verifier=TokenVerifier(self.issuer, issuer_base=ISSUER_BASE, audience_base=AUDIENCE_BASE),
            floors=self.floors,
            memory=ProofsInPostgres(db),
            introspect=self.introspect,
            public_base=AUDIENCE_BASE,
            nonces=Nonces(b"n" * 32),
        )
        metadata = resource_metadata(
            issuer_base=ISSUER_BASE,
            audience_base=AUDIENCE_BASE,
            name="Adhérents",
            scopes=["declaration.read"],
        )
        self.app: Litestar = build_application(
            [read_declarations, submit, read_iban, order, of_people, open_to_all, misspelt, mine, metadata],
            name="adherent",
            base=AUDIENCE_BASE,
            allowed_hosts=["adherent.example.test"],
            keys=keys,
            guards=[guard_by_access(tokens=tokens)],
            dependencies={"token": Provide(provide_token)},
            before_send=[hand_out_nonce],
        )

    async def introspect(self, caisse: CaisseSlug, token: str) -> Verdict:
        self.asked += 1
        return self.verdict

    def beat(self) -> None:
        self.floors.heartbeat(datetime.fromtimestamp(self.began + self.seconds, UTC))

    def holding(self, token: str, key: SigningKey | None = None) -> httpx.AsyncClient:
        return self.client(auth=DpopAuth(key or self.issuer.holder, token))

    def client(self, **options: Any) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(cast(Any, self.app))
        return httpx.AsyncClient(transport=transport, base_url=AUDIENCE_BASE, **options)


@pytest.fixture
async def issuing(adherent_db: Database, keys: KeyEncryption) -> Issuing:
    issuing = Issuing(adherent_db, keys)
    issuing.beat()
    return issuing


async def call(issuing: Issuing, token: str, method: str = "GET", url: str = URL) -> httpx.Response:
    async with issuing.holding(token) as client:
        return await client.request(method, url)


async def test_a_delegated_call_reaches_its_handler_with_both_names(issuing: Issuing) -> None:
    answer = await call(issuing, issuing.issuer.sign(issuing.issuer.delegated_claims()))

    assert answer.status_code == 200
    assert None not in answer.json().values()


async def test_the_head_of_an_answer_is_proven_as_such(issuing: Issuing) -> None:
    """RFC 9449 §4.2: `htm` is the method of the request, HEAD too; the answer is GET's without its content."""
    token = issuing.issuer.sign(issuing.issuer.delegated_claims())
    answer = await call(issuing, token, "HEAD")
    assert (answer.status_code, answer.content) == (200, b"") and int(answer.headers["content-length"]) > 0


async def test_without_a_token_the_challenge_says_what_to_bring_and_no_error(issuing: Issuing) -> None:
    async with issuing.client() as client:
        answer = await client.get(URL)

    assert answer.status_code == 401
    challenge = answer.headers["www-authenticate"]
    assert challenge == f'DPoP algs="ES256 EdDSA Ed25519 PS256", resource_metadata="{METADATA}"'
    assert answer.headers["content-type"] == "application/problem+json"
    assert "error" not in answer.json()


async def test_the_challenge_leads_to_the_metadata(issuing: Issuing) -> None:
    async with issuing.client() as client:
        told = (await client.get(METADATA)).json()

    assert told["resource"] == f"{AUDIENCE_BASE}/mediterranee"
    assert told["authorization_servers"] == [f"{ISSUER_BASE}/mediterranee"]
    assert told["dpop_bound_access_tokens_required"] is True


async def test_a_nonce_is_asked_for_once(issuing: Issuing) -> None:
    token = issuing.issuer.sign(issuing.issuer.own_claims())
    proof = issuing.issuer.proof(token, "GET", URL)
    async with issuing.client() as client:
        asked = await client.get(URL, headers={"Authorization": f"DPoP {token}", "DPoP": proof})
        again = issuing.issuer.proof(token, "GET", URL, nonce=asked.headers["dpop-nonce"])
        answer = await client.get(URL, headers={"Authorization": f"DPoP {token}", "DPoP": again})

    assert asked.status_code == 401
    assert 'error="use_dpop_nonce"' in asked.headers["www-authenticate"]
    assert answer.status_code == 200
    assert answer.headers["dpop-nonce"] == asked.headers["dpop-nonce"]


async def test_a_bearer_token_is_good_for_nothing(issuing: Issuing) -> None:
    token = issuing.issuer.sign(issuing.issuer.own_claims())
    async with issuing.client(headers={"Authorization": f"Bearer {token}"}) as client:
        answer = await client.get(URL)

    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


async def test_two_authorization_headers_are_ambiguous(issuing: Issuing) -> None:
    token = issuing.issuer.sign(issuing.issuer.own_claims())
    async with issuing.client() as client:
        answer = await client.get(
            URL, headers=[("Authorization", f"DPoP {token}"), ("Authorization", "DPoP x")]
        )

    assert answer.status_code == 400
    assert answer.json()["error"] == "invalid_request"


@pytest.mark.parametrize("said", ["DPoP", "DPoP ", "DPoP a b"])
async def test_a_header_that_holds_no_one_token_is_ambiguous(issuing: Issuing, said: str) -> None:
    """RFC 9110 §11.4, RFC 6750 §3.1."""
    async with issuing.client() as client:
        answer = await client.get(URL, headers={"Authorization": said})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_a_stolen_token_without_its_key_is_refused(issuing: Issuing) -> None:
    async with issuing.holding(
        issuing.issuer.sign(issuing.issuer.own_claims()), SigningKey.generate()
    ) as thief:
        answer = await thief.get(URL)

    assert answer.status_code == 401
    assert answer.json()["error"] == "invalid_dpop_proof"


async def test_a_recorded_request_cannot_be_played_again(issuing: Issuing) -> None:
    token = issuing.issuer.sign(issuing.issuer.own_claims())
    async with issuing.holding(token) as client:
        first = await client.get(URL)
    recorded = {name: first.request.headers[name] for name in ("authorization", "dpop")}
    async with issuing.client() as attacker:
        replayed = await asyncio.gather(*(attacker.get(URL, headers=recorded) for _ in range(5)))

    assert first.status_code == 200
    assert {answer.status_code for answer in replayed} == {401}
    assert {answer.json()["error"] for answer in replayed} == {"invalid_dpop_proof"}


async def test_the_host_header_does_not_choose_the_address_that_a_proof_names(issuing: Issuing) -> None:
    token = issuing.issuer.sign(issuing.issuer.own_claims())
    async with issuing.client() as client:
        nonce = (await client.get(URL, headers={"Authorization": f"DPoP {token}"})).headers["dpop-nonce"]
        proof = issuing.issuer.proof(
            token, "GET", "https://evil.example/mediterranee/declarations", nonce=nonce
        )
        headers = {"Authorization": f"DPoP {token}", "DPoP": proof}
        answer = await client.get(URL, headers=headers | {"X-Forwarded-Host": "evil.example"})

    assert answer.status_code == 401


async def test_a_missing_right_is_named(issuing: Issuing) -> None:
    answer = await call(issuing, issuing.issuer.sign(issuing.issuer.own_claims()), "POST")

    assert answer.status_code == 403
    assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
    assert 'scope="declaration.submit declaration.correct"' in answer.headers["www-authenticate"]


async def test_one_of_several_rights_is_enough(issuing: Issuing) -> None:
    claims = issuing.issuer.own_claims(scope="declaration.correct")
    assert (await call(issuing, issuing.issuer.sign(claims), "POST")).status_code == 201


async def test_an_act_that_cannot_be_delegated_is_refused_to_cabinets_alone(issuing: Issuing) -> None:
    url = f"{AUDIENCE_BASE}/mediterranee/iban"
    delegated = await call(issuing, issuing.issuer.sign(issuing.issuer.delegated_claims()), url=url)
    own = await call(issuing, issuing.issuer.sign(issuing.issuer.own_claims()), url=url)

    assert (delegated.status_code, own.status_code) == (403, 200)
    assert delegated.json()["type"].endswith("not-delegable")


async def test_an_act_of_people_is_refused_to_services_whatever_their_rights(issuing: Issuing) -> None:
    url = f"{AUDIENCE_BASE}/mediterranee/of-people"
    service = issuing.issuer.sign(issuing.issuer.service_claims(scope="declaration.read"))
    people = issuing.issuer.sign(issuing.issuer.own_claims())
    assert [(await call(issuing, token, url=url)).status_code for token in (service, people)] == [403, 200]
    assert (await call(issuing, service)).status_code == 200, "where nothing bars them, a right is enough"


async def test_a_sign_in_of_unknown_age_is_too_old(issuing: Issuing) -> None:
    """RFC 9470 §4: nobody signed in behind a service's token, and a token may not say when."""
    url = f"{AUDIENCE_BASE}/mediterranee/order"
    claims = issuing.issuer.own_claims(acr="mfa", auth_time=...)
    answer = await call(issuing, issuing.issuer.sign(claims), url=url)
    assert answer.status_code == 401 and 'max_age="300"' in answer.headers["www-authenticate"]


async def test_a_stronger_sign_in_is_asked_for_by_name(issuing: Issuing) -> None:
    url = f"{AUDIENCE_BASE}/mediterranee/order"
    now = int(datetime.now(UTC).timestamp())
    weak = await call(issuing, issuing.issuer.sign(issuing.issuer.own_claims(auth_time=now - 60)), url=url)
    old = await call(
        issuing, issuing.issuer.sign(issuing.issuer.own_claims(acr="mfa", auth_time=now - 301)), url=url
    )
    good = await call(
        issuing, issuing.issuer.sign(issuing.issuer.own_claims(acr="mfa", auth_time=now - 60)), url=url
    )

    assert (weak.status_code, old.status_code, good.status_code) == (401, 401, 200)
    assert 'error="insufficient_user_authentication"' in weak.headers["www-authenticate"]
    assert 'acr_values="mfa"' in weak.headers["www-authenticate"]
    assert 'max_age="300"' in old.headers["www-authenticate"]
    assert "max_age" not in weak.headers["www-authenticate"]


async def test_another_caisses_token_is_refused(issuing: Issuing) -> None:
    token = issuing.issuer.sign(issuing.issuer.own_claims())
    answer = await call(issuing, token, url=f"{AUDIENCE_BASE}/grand-ouest/declarations")
    assert answer.status_code == 401


async def test_routes_that_say_nothing_known_are_closed(issuing: Issuing) -> None:
    async with issuing.client() as client:
        statuses = [(await client.get(path)).status_code for path in ("/open", "/wrong", "/mine")]
    assert statuses == [200, 404, 404]


async def test_a_stale_stream_sends_delegated_calls_to_the_issuer_and_no_others(issuing: Issuing) -> None:
    issuing.seconds += 0.85
    delegated = issuing.issuer.sign(issuing.issuer.delegated_claims())

    silent = await call(issuing, delegated)
    issuing.verdict = Verdict.STANDING
    served = await call(issuing, delegated)
    issuing.verdict = Verdict.REVOKED
    revoked = await call(issuing, delegated)
    asked = issuing.asked
    own = await call(issuing, issuing.issuer.sign(issuing.issuer.own_claims()))
    issuing.beat()
    fresh = await call(issuing, delegated)

    assert [answer.status_code for answer in (silent, served, revoked, own, fresh)] == [
        503,
        200,
        401,
        200,
        200,
    ]
    assert silent.headers["retry-after"]
    assert issuing.asked == asked == 3

"""A service calling another: its own token, bound to its own key, and an honest error when nobody answers."""

import asyncio
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import httpx
import msgspec
import pytest

from libs.common.access.dpop import token_hash, verify_proof
from libs.common.access.introspection import IntrospectAtIssuer
from libs.common.access.revocations import Verdict
from libs.common.access.service_client import ApiUnavailable, ServiceClient, TokenRefused
from libs.common.access.signatures import SigningKey, split_compact
from tests.access.tokens import AUDIENCE, CAISSE, ISSUER, ISSUER_BASE

KEY = SigningKey.generate()
STANDING = f"{AUDIENCE}/adherents/adh_1/standing"


NO_TEXT = msgspec.Raw(b'{"active": "\xff", "error": "\xff", "access_token": "\xff"}')
"""JSON outside UTF-8."""


class Outside:
    """Identity's token endpoint and an API, as a service meets them: over HTTP (ASGI), with nonces."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str], dict[str, str]]] = []
        self.assertions: set[str] = set()
        self.tokens: list[str] = []
        self.answers: list[tuple[int, dict[str, str], Any]] = []
        self.token_answer: tuple[int, Any] | None = None
        self.nonce = "n-1"
        self.slow = 0.0

    async def __call__(self, scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        body = (await receive()).get("body", b"").decode()
        form = {name: values[0] for name, values in parse_qs(body).items()}
        self.seen.append((scope["path"], headers, form))
        await asyncio.sleep(self.slow)
        status, added, told = self._answer(scope["path"], headers, form)
        pairs = [(name.encode(), value.encode()) for name, value in added.items()]
        await send({"type": "http.response.start", "status": status, "headers": pairs})
        await send({"type": "http.response.body", "body": msgspec.json.encode(told)})

    def _answer(
        self, path: str, headers: dict[str, str], form: dict[str, str]
    ) -> tuple[int, dict[str, str], Any]:
        nonce = {"DPoP-Nonce": self.nonce}
        if not path.endswith("/token"):
            return self.answers.pop(0) if self.answers else (200, nonce, {"is_up_to_date": True})
        assert form["client_assertion"] not in self.assertions, "an assertion works once"
        self.assertions.add(form["client_assertion"])
        if self.token_answer is not None:
            return self.token_answer[0], nonce, self.token_answer[1]
        if claims_of(headers["dpop"]).get("nonce") != self.nonce:
            return 400, nonce, {"error": "use_dpop_nonce"}
        self.tokens.append(secrets.token_urlsafe())
        return 200, nonce, {"access_token": self.tokens[-1], "token_type": "DPoP", "expires_in": 600}

    def calls(self, end: str) -> list[tuple[dict[str, str], dict[str, str]]]:
        return [(headers, form) for path, headers, form in self.seen if path.endswith(end)]


def claims_of(jws: str) -> dict[str, Any]:
    return msgspec.json.decode(split_compact(jws, limit=6000).payload)


@pytest.fixture
def outside() -> Outside:
    return Outside()


@pytest.fixture
def http(outside: Outside) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(outside))


@pytest.fixture
def client(http: httpx.AsyncClient) -> ServiceClient:
    return ServiceClient(http, issuer_base=ISSUER_BASE, client_id="documents", key=KEY)


async def ask(client: ServiceClient) -> httpx.Response:
    return await client.request("GET", STANDING, caisse=CAISSE, resource=AUDIENCE, scope="standing.read")


async def test_a_call_carries_a_token_bound_to_the_services_key(
    client: ServiceClient, outside: Outside
) -> None:
    answer = await ask(client)

    assert answer.json() == {"is_up_to_date": True}
    headers, _ = outside.calls("/standing")[0]
    assert headers["authorization"] == f"DPoP {outside.tokens[0]}"
    proof = claims_of(headers["dpop"])
    assert (proof["htm"], proof["htu"]) == ("GET", STANDING)
    assert proof["ath"] == token_hash(outside.tokens[0])


async def test_the_service_proves_itself_by_a_fresh_assertion_to_the_issuer_alone(
    client: ServiceClient, outside: Outside
) -> None:
    await ask(client)

    _, form = outside.calls("/token")[-1]
    assertion = claims_of(form["client_assertion"])
    assert assertion["iss"] == assertion["sub"] == form["client_id"] == "documents"
    assert assertion["aud"] == ISSUER
    assert assertion["exp"] - assertion["iat"] <= 60
    assert (form["grant_type"], form["resource"], form["scope"]) == (
        "client_credentials",
        AUDIENCE,
        "standing.read",
    )
    assert len(outside.assertions) == 2, "the nonce cost one more try, with another assertion"


async def test_one_token_serves_many_calls_and_is_asked_for_once(
    client: ServiceClient, outside: Outside
) -> None:
    await asyncio.gather(*(ask(client) for _ in range(20)))

    assert len(outside.tokens) == 1


async def test_a_token_refused_as_invalid_is_renewed_once(client: ServiceClient, outside: Outside) -> None:
    await ask(client)
    challenge = {"WWW-Authenticate": 'DPoP error="invalid_token"'}
    outside.answers = [(401, challenge, {})]

    assert (await ask(client)).status_code == 200
    assert len(outside.tokens) == 2


async def test_a_refusal_that_a_new_token_would_not_change_is_handed_over(
    client: ServiceClient, outside: Outside
) -> None:
    outside.answers = [(403, {}, {"title": "no"})]
    assert (await ask(client)).status_code == 403
    assert len(outside.tokens) == 1


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_an_api_that_cannot_answer_is_unavailable(
    client: ServiceClient, outside: Outside, status: int
) -> None:
    outside.answers = [(status, {}, {})]
    with pytest.raises(ApiUnavailable):
        await ask(client)


async def test_silence_is_unavailable(http: httpx.AsyncClient) -> None:
    async with httpx.AsyncClient(trust_env=False) as real:
        client = ServiceClient(real, issuer_base="http://127.0.0.1:1", client_id="documents", key=KEY)
        with pytest.raises(ApiUnavailable):
            await client.request(
                "GET", "http://127.0.0.1:1/x", caisse=CAISSE, resource=AUDIENCE, scope="standing.read"
            )


async def test_a_service_that_the_issuer_does_not_know_is_our_fault(
    client: ServiceClient, outside: Outside
) -> None:
    outside.token_answer = (401, {"error": "invalid_client"})
    with pytest.raises(TokenRefused, match="invalid_client"):
        await ask(client)


@pytest.mark.parametrize(("status", "heard"), [(200, ApiUnavailable), (400, TokenRefused)])
async def test_an_issuer_that_answers_no_text_is_heard_as_one_that_fails(
    client: ServiceClient, outside: Outside, status: int, heard: type[Exception]
) -> None:
    outside.token_answer = (status, NO_TEXT)
    with pytest.raises(heard):
        await ask(client)


async def test_the_proof_of_a_token_request_is_good_for_identity(
    client: ServiceClient, outside: Outside
) -> None:
    await ask(client)
    headers, _ = outside.calls("/token")[-1]
    proof = verify_proof([headers["dpop"]], method="POST", url=f"{ISSUER}/token", now=datetime.now(UTC))
    assert proof.jkt == KEY.kid


# Introspection


async def test_introspection_tells_standing_from_revoked(http: httpx.AsyncClient, outside: Outside) -> None:
    introspect = IntrospectAtIssuer(http, ISSUER_BASE, client_id="adherent", key=KEY)
    outside.answers = [(200, {}, {"active": True, "sub": "adh_1"}), (200, {}, {"active": False})]

    assert await introspect(CAISSE, "t") is Verdict.STANDING
    assert await introspect(CAISSE, "t") is Verdict.REVOKED
    _, form = outside.calls("/introspect")[0]
    assert form["token"] == "t"
    assert claims_of(form["client_assertion"])["aud"] == ISSUER


@pytest.mark.parametrize(
    "answer",
    [
        (500, {}, {}),
        (503, {}, {"active": True}),
        (400, {}, {"active": False}),
        (401, {}, {"error": "invalid_client"}),
        (200, {}, []),
        (200, {}, {}),
        (200, {}, NO_TEXT),
    ],
)
async def test_any_other_answer_decides_nothing(
    http: httpx.AsyncClient, outside: Outside, answer: Any
) -> None:
    outside.answers = [answer]
    assert (
        await IntrospectAtIssuer(http, ISSUER_BASE, client_id="adherent", key=KEY)(CAISSE, "t")
        is Verdict.UNKNOWN
    )


async def test_an_issuer_that_takes_more_than_150_ms_is_not_waited_for(
    http: httpx.AsyncClient, outside: Outside
) -> None:
    outside.slow = 2.0
    started = asyncio.get_running_loop().time()
    verdict = await IntrospectAtIssuer(http, ISSUER_BASE, client_id="adherent", key=KEY)(CAISSE, "t")

    assert verdict is Verdict.UNKNOWN
    assert asyncio.get_running_loop().time() - started < 0.5

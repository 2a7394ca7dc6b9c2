"""Eligibility over HTTP: whatever is not an answer is an outage, never a refusal."""

from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import httpx
import pytest

from libs.common.access.resource_server import ResourceServer
from libs.common.access.service_client import ServiceClient
from libs.common.access.signatures import SigningKey
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.refusals import NotFound
from libs.common.runtime.settings import Settings
from libs.common.values.identifiers import new_id
from services.adherent.app import create_app
from services.documents.attestations.ask_adherent import AskAdherent
from services.documents.attestations.eligibility import EligibilityUnavailable
from tests.adherent.callers import Caller, OneIssuer, says_standing, served
from tests.documents.conftest import HERE, Firms


class TwoHosts(httpx.AsyncBaseTransport):
    """The issuer's token endpoint, and the adherent service behind its own name."""

    def __init__(self, token: Callable[[], str], adherent: httpx.AsyncBaseTransport) -> None:
        self._token = token
        self._adherent = adherent
        self.scopes: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == "id.example.test":
            form = dict(httpx.QueryParams((await request.aread()).decode()))
            self.scopes.append(form["scope"])
            return httpx.Response(
                200, json={"access_token": self._token(), "token_type": "DPoP", "expires_in": 300}
            )
        return await self._adherent.handle_async_request(request)


@pytest.fixture
async def asking(
    settings: Settings, keys: KeyEncryption, issuer: OneIssuer
) -> AsyncIterator[tuple[AskAdherent, TwoHosts]]:
    key = SigningKey.generate()
    caller = Caller(issuer, settings, "adherent", HERE, key=key)
    access = ResourceServer(settings, "adherent", keys, key_source=issuer, introspect=says_standing)
    app = create_app(settings, access=access)
    async with served(app, settings.adherent.base):
        hosts = TwoHosts(
            lambda: caller.service("documents", "standing.read"), httpx.ASGITransport(app=cast(Any, app))
        )
        async with httpx.AsyncClient(transport=hosts) as http:
            client = ServiceClient(http, issuer_base=settings.identity.base, client_id="documents", key=key)
            yield AskAdherent(client, settings.adherent.base), hosts


async def test_the_adherent_service_is_asked_in_our_own_name(
    asking: tuple[AskAdherent, TwoHosts], firms: Firms
) -> None:
    ask, hosts = asking
    judgement = await ask.judge(HERE, await firms.late())

    assert not judgement.is_up_to_date
    assert [reason.code for reason in judgement.reasons] == ["statement_unpaid"]
    assert b'"inputs"' in judgement.raw
    assert hosts.scopes == ["standing.read"]


async def test_an_unknown_firm_is_not_found(asking: tuple[AskAdherent, TwoHosts], firms: Firms) -> None:
    await firms.settled()
    with pytest.raises(NotFound):
        await asking[0].judge(HERE, new_id())


class Answers(httpx.AsyncBaseTransport):
    """A server in trouble: one answer to everything, or none."""

    def __init__(self, status: int | None, body: bytes = b"") -> None:
        self._status = status
        self._body = body

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._status is None:
            raise httpx.ConnectError("refused")
        return httpx.Response(self._status, content=self._body)


TOKEN = b'{"access_token":"x","token_type":"DPoP","expires_in":300}'


@pytest.mark.parametrize(
    ("status", "body"),
    [(None, b""), (503, b""), (500, b""), (401, b"{}"), (400, b'{"error":"invalid_client"}'), (200, TOKEN)],
)
async def test_trouble_is_unavailable(settings: Settings, status: int | None, body: bytes) -> None:
    async with httpx.AsyncClient(transport=Answers(status, body)) as http:
        client = ServiceClient(
            http, issuer_base=settings.identity.base, client_id="documents", key=SigningKey.generate()
        )
        with pytest.raises(EligibilityUnavailable):
            await AskAdherent(client, settings.adherent.base).judge(HERE, new_id())


async def test_without_a_key_of_our_own_it_is_unavailable(settings: Settings) -> None:
    with pytest.raises(EligibilityUnavailable):
        await AskAdherent(None, settings.adherent.base).judge(HERE, new_id())

"""`espace serve documents` is killed (SIGKILL) before each write of an attestation, started again, asked again.

Identity and adherent serve beside it, as they are: the token is checked with identity's published keys, the
standing is asked of adherent with the service's own token.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest

from libs.common.database.pool import Database
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.runtime.child_process import free_port
from libs.common.runtime.settings import ServiceSettings, Settings
from libs.common.values.identifiers import new_id, public_id
from services.demonstration.clients import new_keys, register_all
from services.documents.attestations.issue import Workshop
from services.identity.signing_keys import store as signing_keys
from services.identity.signing_keys.rotation import create_keys
from services.identity.signing_keys.sealing import open_key
from tests.adherent.callers import Caller, OneIssuer
from tests.conftest import HeldClock, Servers
from tests.documents.conftest import HERE, Firms
from tests.documents.issue_once import Order
from tests.documents.judging import JudgedHere
from tests.documents.test_killed import ask_again, expect_one_paper, sweep
from tests.identity.sign_in.visitors import add_caisses
from tests.runtime.database_proxy import database_proxy
from tests.runtime.serving import Serving, killed_when_held


@pytest.fixture(scope="module")
def settings(settings: Settings) -> Settings:
    """The same, each service at an address where its process can be reached."""

    def at_home(section: ServiceSettings) -> ServiceSettings:
        port = free_port()
        return msgspec.structs.replace(section, base=f"http://127.0.0.1:{port}", port=port)

    return msgspec.structs.replace(
        settings,
        identity=at_home(settings.identity),
        adherent=at_home(settings.adherent),
        documents=at_home(settings.documents),
    )


@pytest.fixture
async def caller(
    identity_db: Database, keys: KeyEncryption, settings: Settings, clock: HeldClock
) -> AsyncIterator[Caller]:
    """Somebody whose tokens are signed by the caisse's own key, in a caisse whose services are registered."""
    await add_caisses(identity_db, clock)
    async with identity_db.transaction(HERE) as tx:
        await create_keys(tx, keys, clock())
        await register_all(tx, settings, new_keys(), now=clock())
        published = await signing_keys.published(tx)
    signer = next(key for key in published if (key.algorithm, key.state) == ("ES256", "active"))
    issuer = OneIssuer()
    issuer.key = open_key(keys, HERE, signer)
    yield Caller(issuer, settings, "documents", HERE)


async def asked(settings: Settings, caller: Caller, firm: UUID, request_key: str) -> httpx.Response:
    token = caller.own(firm, new_id(), "attestation.request", "attestation.read")
    async with httpx.AsyncClient(base_url=settings.documents.base, timeout=30, trust_env=False) as http:
        return await caller.ask(
            http,
            "POST",
            f"/adherents/{public_id('adh', firm)}/attestations",
            token,
            json={"kind": "up_to_date"},
            headers={"Idempotency-Key": request_key},
        )


async def test_killed_before_any_write_one_key_gives_one_paper_and_numbers_have_no_gap(
    shop: Workshop,
    eligibility: JudgedHere,
    documents_relay: Database,
    firms: Firms,
    caller: Caller,
    settings: Settings,
    servers: Servers,
    tmp_path: Path,
) -> None:
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(database_proxy(servers.postgres.port))
        for name in ("identity", "adherent"):
            section = settings.service(name)
            beside = Serving(name, settings, section.dsn, tmp_path, section.port)
            await beside.start()
            stack.push_async_callback(beside.kill)
        section = settings.documents
        serving = Serving("documents", settings, proxy.address(section.dsn), tmp_path, section.port)
        await serving.start()
        stack.push_async_callback(serving.kill)

        async def papered() -> bool:
            """A new firm asks; whether the process was killed meanwhile. One paper in the end, whatever happened."""
            firm, key = await firms.settled(), str(uuid4())
            answer = await killed_when_held(serving, proxy, asked(settings, caller, firm, key))
            was_killed = answer is None
            if answer is None:
                answer = await asked(settings, caller, firm, key)
            assert answer.status_code == 201, (answer.text, proxy.sent)
            order = Order("", "", "", "", HERE, firm, key)
            same = await ask_again(shop, eligibility, order)
            assert same.payload.id == answer.json()["number"]
            await expect_one_paper(shop, firm, same)
            return was_killed

        proxy.counting()
        assert not await papered()
        places = proxy.writes()
        assert len(places) > 12, proxy.sent
        for nth in places:
            proxy.hold_before(nth)
            assert await papered(), proxy.sent
        # Committed, and nobody was told.
        proxy.hold_answer(places[-1])
        assert await papered()
        assert await sweep(shop, documents_relay) == 0

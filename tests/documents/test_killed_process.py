"""The serving process is killed (SIGKILL, its whole group) at each write of an attestation, and around each commit.

Started again on the same database and asked with the same request key, it gives one
paper, told once, and the caisse's numbers have no gap. Identity and adherent run beside
it as they are served: the key that verifies and the judgement come over HTTP.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID, uuid4

import httpx
import pytest
from msgspec.structs import replace

from libs.common.access.signatures import SigningKey
from libs.common.database.pool import Database
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.runtime.child_process import free_port
from libs.common.runtime.settings import ServiceSettings, Settings
from libs.common.values.identifiers import new_id, public_id
from services.documents.attestations import store
from services.documents.attestations.files import Files
from services.identity.openid.clients import CLIENT_CREDENTIALS, ClientMetadata
from services.identity.openid.write_client import register_client
from services.identity.signing_keys import store as signing_keys
from services.identity.signing_keys.rotation import create_keys
from services.identity.signing_keys.sealing import open_key
from tests.adherent.callers import Caller, OneIssuer
from tests.documents.conftest import HERE, Firms, a_caisse
from tests.faults.database_proxy import DatabaseProxy, Held, Place, database_proxy, places_to_die
from tests.faults.serving import Serving, serving
from tests.openid.party import add_row_of_caisse

WRITES = [
    # The proof of possession, spent before anything is judged.
    "INSERT dpop_proof",
    "COMMIT",
    # 1. Reserved.
    "INSERT attestation_request",
    "INSERT attestation",
    "INSERT verification_address",
    "COMMIT",
    # 2. Numbered.
    "INSERT attestation_counter",
    "UPDATE attestation",
    "COMMIT",
    # 3. Sealed, then what it replaces.
    "UPDATE attestation",
    "UPDATE attestation",
    "INSERT journal",
    "INSERT outbox",
    "COMMIT",
]
"""What one request changes, in order, once the caisse has its seal."""

PLACES = [place for place in places_to_die(WRITES) if place.nth > 2]
"""All but those of the proof, which is no part of the attestation: dead before its third write, it is spent."""


@pytest.fixture(scope="module")
async def proxy(settings: Settings) -> AsyncIterator[DatabaseProxy]:
    async with database_proxy(settings.documents.dsn) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def at_home(settings: Settings, proxy: DatabaseProxy) -> Settings:
    """Every service at its own loopback address, for they speak to each other; documents by the proxy."""

    def on_loopback(section: ServiceSettings) -> ServiceSettings:
        port = free_port()
        return replace(section, port=port, base=f"http://127.0.0.1:{port}")

    documents = replace(settings.documents, dsn=proxy.in_front_of(settings.documents.dsn))
    return replace(
        settings,
        identity=on_loopback(settings.identity),
        adherent=on_loopback(settings.adherent),
        documents=on_loopback(documents),
    )


@pytest.fixture(scope="module")
async def issuer_here(at_home: Settings, identity_db: Database, keys: KeyEncryption) -> OneIssuer:
    """The caisse's issuer in identity: its signing key, and documents registered as its client."""
    now, issuer = datetime.now(UTC), OneIssuer()
    await add_row_of_caisse(identity_db, HERE, now)
    async with identity_db.transaction(HERE) as tx:
        await create_keys(tx, keys, now)
        signer = next(
            key
            for key in await signing_keys.published(tx)
            if (key.algorithm, key.state) == ("ES256", "active")
        )
        issuer.key = open_key(keys, HERE, signer)
        documents = ClientMetadata(
            client_name="Service des documents",
            profile="fapi",
            jwks={"keys": [SigningKey.from_pem(at_home.documents.client_key).published_jwk()]},
            grant_types=(CLIENT_CREDENTIALS,),
            response_types=(),
            scope="standing.read",
            resources=(f"{at_home.adherent.base}/{HERE}",),
            dpop_bound_access_tokens=True,
        )
        await register_client(tx, documents, now=now, client_id="documents", plain_http=True)
    return issuer


@pytest.fixture(scope="module")
async def documents(
    at_home: Settings,
    issuer_here: OneIssuer,
    documents_db: Database,
    keys: KeyEncryption,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Serving]:
    """The documents service, with identity and adherent beside it, which nobody kills."""
    folder = tmp_path_factory.mktemp("served")
    await a_caisse(documents_db, keys, at_home.documents.base, HERE, "Caisse de la région Méditerranée")
    async with AsyncExitStack() as running:
        for beside in ("identity", "adherent"):
            await running.enter_async_context(serving(beside, at_home, folder))
        yield await running.enter_async_context(serving("documents", at_home, folder))


@pytest.fixture(scope="module")
def files(at_home: Settings, keys: KeyEncryption) -> Files:
    assert at_home.files is not None
    return Files.in_folder(at_home.files, keys)


@dataclass
class Order:
    """A firm's member at the button, with one request key."""

    caller: Caller
    firm: UUID
    token: str
    key: str

    async def send(self, documents: Serving) -> httpx.Response:
        async with documents.http() as http:
            return await self.caller.ask(
                http,
                "POST",
                f"/adherents/{public_id('adh', self.firm)}/attestations",
                self.token,
                json={"kind": "up_to_date"},
                headers={"Idempotency-Key": self.key},
            )

    async def learn_nonce(self, documents: Serving) -> None:
        """The server's nonce is the same in each of its processes: the request that follows is sent once."""
        async with documents.http() as http:
            path = f"/adherents/{public_id('adh', self.firm)}/attestations"
            assert (await self.caller.ask(http, "GET", path, self.token)).status_code == 200


@pytest.fixture
async def order(at_home: Settings, issuer_here: OneIssuer, documents: Serving, firms: Firms) -> Order:
    caller, firm = Caller(issuer_here, at_home, "documents", HERE), await firms.settled()
    token = caller.own(firm, new_id(), "attestation.request", "attestation.read")
    order = Order(caller, firm, token, str(uuid4()))
    await order.learn_nonce(documents)
    return order


async def traces(db: Database, firm: UUID) -> dict[str, object]:
    """Everything an attestation changes, as one may see it afterwards."""
    async with db.transaction(HERE) as tx:
        asked = await tx.fetchval("SELECT count(*) FROM attestation_request WHERE adherent_id = $1", firm)
        states = await tx.fetch("SELECT state FROM attestation WHERE adherent_id = $1", firm)
        journal = await tx.fetchval(
            "SELECT count(*) FROM journal WHERE action = 'attestation.issued' AND adherent_id = $1", firm
        )
        facts = await tx.fetchval(
            "SELECT count(*) FROM outbox WHERE subject LIKE '%attestation.issued.v1'"
            " AND convert_from(body, 'UTF8') LIKE '%' || $1 || '%'",
            str(firm),
        )
    return {"asked": asked, "papers": [row[0] for row in states], "journal": journal, "facts": facts}


def expected(committed: int) -> dict[str, object]:
    """The traces once so many of the four transactions are committed."""
    papers = [[], [], ["reserved"], ["numbered"], ["sealed"]][committed]
    told = int(committed == 4)
    return {"asked": len(papers), "papers": papers, "journal": told, "facts": told}


async def numbers_without_gap(db: Database) -> list[int]:
    """The numbers taken here, none missing; the counter stands at the last."""
    async with db.transaction(HERE) as tx:
        rows = await tx.fetch("SELECT number FROM attestation WHERE number IS NOT NULL ORDER BY number")
        last = await tx.fetchval("SELECT coalesce(max(last_number), 0) FROM attestation_counter")
    taken = [row[0] for row in rows]
    assert taken == list(range(1, last + 1))
    return taken


async def expect_one_paper(db: Database, files: Files, firm: UUID) -> None:
    """Told once, and its file is there, whole."""
    assert await traces(db, firm) == expected(4)
    async with db.transaction(HERE) as tx:
        [paper] = await store.of_adherent(tx, firm, 2)
    assert len(await files.get(paper.file_path or "")) == paper.file_size
    assert paper.number in await numbers_without_gap(db)


async def test_an_attestation_writes_what_we_kill_it_at(
    documents: Serving, proxy: DatabaseProxy, documents_db: Database, files: Files, order: Order
) -> None:
    proxy.arm()
    assert (await order.send(documents)).status_code == 201
    # The first paper of a caisse makes its authority and its seal as well.
    assert [write for write in proxy.writes if "INSERT seal_" not in write] == WRITES
    await expect_one_paper(documents_db, files, order.firm)


@pytest.mark.parametrize("place", PLACES, ids=lambda at: f"{at.nth}-{at.held.name}")
async def test_killed_at_a_write_then_started_again(
    documents: Serving,
    proxy: DatabaseProxy,
    documents_db: Database,
    files: Files,
    order: Order,
    place: Place,
) -> None:
    proxy.arm(place)
    await documents.killed_at(proxy, place, asyncio.create_task(order.send(documents)))

    whole = place.nth if place.held is Held.AFTER else place.nth - 1
    assert await traces(documents_db, order.firm) == expected(WRITES[:whole].count("COMMIT"))
    await numbers_without_gap(documents_db)

    await documents.start()
    answer, again = await order.send(documents), await order.send(documents)

    assert (answer.status_code, again.status_code) == (201, 201)
    assert again.json() == answer.json()
    await expect_one_paper(documents_db, files, order.firm)

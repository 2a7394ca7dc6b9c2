"""The issuing process is killed at each step; a retry or the sweeper ends with one paper and no gap.

The step is held by an advisory lock that a trigger waits for, so the process dies
inside the very transaction named: all before it committed, nothing of it did.
"""

import asyncio
import signal
import sys
from datetime import UTC, datetime
from uuid import UUID, uuid4

import msgspec
import pytest

from libs.common.database.pool import Database
from libs.common.events.documents import ActedBy
from libs.common.runtime.settings import Settings
from services.documents.attestations import store
from services.documents.attestations.issue import Issued, Workshop, issue_attestation
from services.documents.attestations.permission import MayRequestAttestation
from services.documents.attestations.sweep import PATIENCE, sweep_half_way
from tests.documents.conftest import HERE, Firms
from tests.documents.issue_once import Order
from tests.documents.judging import JudgedHere
from tests.gate import gate, somebody_waits

STEPS = ("reserved", "numbered", "sealed")


async def start(order: Order) -> asyncio.subprocess.Process:
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.documents.issue_once",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdin is not None
    child.stdin.write(msgspec.json.encode(order))
    child.stdin.close()
    return child


@pytest.fixture
async def order(settings: Settings, firms: Firms) -> Order:
    return Order(
        documents_dsn=settings.documents.dsn,
        adherent_dsn=settings.adherent.dsn,
        files=str(settings.files),
        base=settings.documents.base,
        caisse=HERE,
        firm=await firms.settled(),
        request_key=str(uuid4()),
    )


async def ask_again(shop: Workshop, eligibility: JudgedHere, order: Order) -> Issued:
    return await issue_attestation(
        shop,
        eligibility,
        MayRequestAttestation(HERE, order.firm, ActedBy(client_id="portal")),
        kind="up_to_date",
        request_key=order.request_key,
        now=datetime.now(UTC),
    )


async def sweep(shop: Workshop, relay: Database) -> int:
    return await sweep_half_way(shop, relay, now=datetime.now(UTC) + 2 * PATIENCE)


async def expect_one_paper(shop: Workshop, firm: UUID, issued: Issued) -> None:
    async with shop.db.transaction(HERE) as tx:
        states = await tx.fetch("SELECT id, state FROM attestation WHERE adherent_id = $1", firm)
        taken = await tx.fetch("SELECT number FROM attestation ORDER BY number")
        told = await tx.fetchval(
            "SELECT count(*) FROM outbox WHERE subject LIKE '%attestation.issued.v1' AND body LIKE $1",
            f'%"{issued.row.id}"%'.encode(),
        )
        written = await tx.fetchval(
            "SELECT count(*) FROM journal WHERE action = 'attestation.issued' AND adherent_id = $1", firm
        )
        same = await store.find(tx, issued.row.id)
    assert [(row["id"], row["state"]) for row in states] == [(issued.row.id, "sealed")]
    assert [row["number"] for row in taken] == list(range(1, len(taken) + 1))
    assert (told, written) == (1, 1)
    assert same is not None
    assert len(await shop.files.get(same.file_path or "")) == same.file_size


@pytest.mark.parametrize("first", ["the same key", "the sweeper"])
@pytest.mark.parametrize("step", STEPS)
async def test_killed_inside_a_step(
    shop: Workshop,
    eligibility: JudgedHere,
    documents_relay: Database,
    settings: Settings,
    order: Order,
    step: str,
    first: str,
) -> None:
    async with gate(settings.documents.owner_dsn, "attestation", when=f"NEW.state = '{step}'") as owner:
        child = await start(order)
        await somebody_waits(owner)
        child.send_signal(signal.SIGKILL)
        await child.wait()

    if first == "the sweeper":
        assert await sweep(shop, documents_relay) == (0 if step == "reserved" else 1)
    issued = await ask_again(shop, eligibility, order)
    assert await sweep(shop, documents_relay) == 0

    await expect_one_paper(shop, order.firm, issued)


async def test_killed_once_all_is_done(shop: Workshop, eligibility: JudgedHere, order: Order) -> None:
    child = await start(order)
    assert child.stdout is not None
    number = (await child.stdout.readline()).decode().strip()
    await child.wait()

    issued = await ask_again(shop, eligibility, order)

    assert issued.payload.id == number
    await expect_one_paper(shop, order.firm, issued)


async def test_the_sweeper_and_the_retry_at_once_seal_once(
    shop: Workshop, eligibility: JudgedHere, documents_relay: Database, settings: Settings, order: Order
) -> None:
    async with gate(settings.documents.owner_dsn, "attestation", when="NEW.state = 'numbered'") as owner:
        child = await start(order)
        await somebody_waits(owner)
        child.send_signal(signal.SIGKILL)
        await child.wait()

    issued, _ = await asyncio.gather(ask_again(shop, eligibility, order), sweep(shop, documents_relay))

    await expect_one_paper(shop, order.firm, issued)

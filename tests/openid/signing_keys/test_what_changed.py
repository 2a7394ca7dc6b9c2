"""Each second a process asks whether any ring changed: one question for all its caisses, and no change escapes it."""

import asyncio
import random
import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from libs.common.database.pool import Database
from libs.common.database.transaction import Tx
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.values.caisse_slug import CaisseSlug, parse_caisse_slug
from services.identity.openid import client_store
from services.identity.openid.clients import ClientMetadata
from services.identity.openid.write_client import open_registration, register_client
from services.identity.signing_keys import key_ring, store
from services.identity.signing_keys.key_ring import FRESH_FOR, KeyRing, KeyRings
from services.identity.signing_keys.rotation import SIGNS_FOR, VERIFIES_FOR, create_keys, rotate, sweep_keys
from tests.openid.party import add_row_of_caisse


class Questions:
    """What is asked of the store, in order; each question is put all the same."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        for name in ("version", "told", "published"):
            monkeypatch.setattr(store, name, self._noting(name, getattr(store, name)))

    def _noting(self, name: str, ask: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def noting(*args: Any) -> Any:
            self.asked.append(name)
            return await ask(*args)

        return noting

    def since(self) -> list[str]:
        asked, self.asked = self.asked, []
        return asked


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> Questions:
    return Questions(monkeypatch)


async def new_caisse(db: Database, keys: KeyEncryption) -> CaisseSlug:
    slug, now = parse_caisse_slug(f"c-{secrets.token_hex(4)}"), datetime.now(UTC)
    await add_row_of_caisse(db, slug, now)
    async with db.transaction(slug) as tx:
        await create_keys(tx, keys, now)
    return slug


async def told(db: Database, caisse: CaisseSlug) -> store.Told:
    return await store.told(db.one_statement(caisse), caisse, datetime.now(UTC))


async def version(db: Database, caisse: CaisseSlug) -> int:
    return await store.version(db.one_statement(caisse))


async def a_second() -> None:
    await asyncio.sleep(FRESH_FOR + 0.05)


async def settled(rings: KeyRings, *slugs: CaisseSlug) -> list[KeyRing]:
    """The rings once each caisse has made the RSA keys that it makes at its first request."""
    for slug in slugs:
        await rings.of(slug)
    await a_second()
    return [await rings.of(slug) for slug in slugs]


async def test_the_caisses_of_a_process_ask_one_question_a_second(
    identity_db: Database, keys: KeyEncryption, questions: Questions, monkeypatch: pytest.MonkeyPatch
) -> None:
    slugs = [await new_caisse(identity_db, keys) for _ in range(3)]
    rings = KeyRings(identity_db, keys)
    first = await settled(rings, *slugs)
    await a_second()
    # However slow the machine, what is asked now is asked within one second of that.
    monkeypatch.setattr(key_ring, "FRESH_FOR", 60.0)
    questions.since()
    assert [await rings.of(slug) for slug in slugs] == first
    assert questions.since() == ["version"]


async def test_a_change_is_asked_of_each_and_makes_the_ring_of_its_caisse_alone(
    identity_db: Database, keys: KeyEncryption, questions: Questions, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = await new_caisse(identity_db, keys), await new_caisse(identity_db, keys)
    rings = KeyRings(identity_db, keys)
    before = await settled(rings, here, there)
    async with identity_db.transaction(here) as tx:
        await rotate(tx, keys, "ES256", datetime.now(UTC))
    await a_second()
    monkeypatch.setattr(key_ring, "FRESH_FOR", 60.0)
    questions.since()
    after = [await rings.of(here), await rings.of(there)]
    assert questions.since() == ["version", "told", "published", "told"]
    assert after[0] is not before[0] and after[1] is before[1]


async def test_an_invitation_that_ends_by_itself_is_open_no_longer(
    identity_db: Database, keys: KeyEncryption
) -> None:
    here, now = await new_caisse(identity_db, keys), datetime.now(UTC)
    async with identity_db.transaction(here) as tx:
        await give(tx, "standard", now + timedelta(seconds=8), now)
    rings = KeyRings(identity_db, keys)
    assert (await rings.of(here)).opened.registers
    counted = await version(identity_db, here)
    await asyncio.sleep((now + timedelta(seconds=8.1) - datetime.now(UTC)).total_seconds())
    assert not (await rings.of(here)).opened.registers
    assert await version(identity_db, here) == counted


async def test_a_database_restored_from_a_copy_is_read_again(
    identity_db: Database, keys: KeyEncryption, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy may have counted as many changes as the process has heard of, and hold others."""
    here = await new_caisse(identity_db, keys)
    await settled(KeyRings(identity_db, keys), here)
    monkeypatch.setattr(key_ring, "REREAD_AFTER", 2.5)
    rings = KeyRings(identity_db, keys)
    before = await rings.of(here)
    async with identity_db.transaction(here) as tx:
        counted = await tx.fetchval("SELECT version FROM issuer_version WHERE caisse = $1", here)
        await rotate(tx, keys, "ES256", datetime.now(UTC))
        await tx.execute("UPDATE issuer_version SET version = $2 WHERE caisse = $1", here, counted)
    await asyncio.sleep(2.6)
    assert (await rings.of(here)).jwks != before.jwks


async def give(tx: Tx, profile: str, expires_at: datetime, now: datetime) -> bytes:
    hashed = secrets.token_bytes(32)
    await client_store.add_initial_token(tx, hashed, profile=profile, uses=1, expires_at=expires_at, now=now)
    return hashed


async def test_whatever_is_told_otherwise_is_counted(identity_db: Database, keys: KeyEncryption) -> None:
    """A walk through what operators, clients and time do to an issuer, in any order."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    draw, now = random.Random(seed), datetime.now(UTC)
    later = now + timedelta(days=1)
    clients: list[str] = []
    invitations: list[bytes] = []

    async def opens(tx: Tx) -> None:
        await open_registration(tx, draw.choice(("closed", "standard", "compat")), now=now)

    async def registers(tx: Tx) -> None:
        said = ClientMetadata(
            client_name="Logiciel", redirect_uris=("https://client.example/cb",), scope="openid",
            profile=draw.choice(("standard", "compat")), token_endpoint_auth_method="none", consent="explicit",
        )  # fmt: skip
        clients.append((await register_client(tx, said, now=now, plain_http=True)).client_id)

    async def changes(tx: Tx) -> None:
        said = msgspec.json.encode({"profile": draw.choice(("standard", "compat"))}).decode()
        await tx.execute(
            "UPDATE client SET metadata = metadata || $2::text::jsonb WHERE client_id = $1",
            draw.choice(clients or ["nobody"]), said,
        )  # fmt: skip

    async def disables(tx: Tx) -> None:
        await client_store.disable(tx, draw.choice(clients or ["nobody"]), now)

    async def deletes(tx: Tx) -> None:
        await tx.execute("DELETE FROM client WHERE client_id = $1", draw.choice(clients or ["nobody"]))

    async def invites(tx: Tx) -> None:
        invitations.append(await give(tx, draw.choice(("standard", "compat")), later, now))

    async def spends(tx: Tx) -> None:
        await client_store.spend_initial_token(tx, draw.choice(invitations or [b""]), now)

    async def rotates(tx: Tx) -> None:
        await rotate(tx, keys, draw.choice(("ES256", "EdDSA")), now)

    async def a_month_passes(tx: Tx) -> None:
        await sweep_keys(tx, keys, now + draw.randrange(1, 4) * (SIGNS_FOR + VERIFIES_FOR))

    acts = (opens, registers, changes, disables, deletes, invites, spends, rotates, a_month_passes)
    changed: set[str] = set()
    for _ in range(6):
        here = await new_caisse(identity_db, keys)
        clients.clear()
        invitations.clear()
        for act in draw.sample(acts * 3, k=len(acts) * 3):
            before = await told(identity_db, here), await version(identity_db, here)
            async with identity_db.transaction(here) as tx:
                await act(tx)
            after = await told(identity_db, here), await version(identity_db, here)
            if after[0] != before[0]:
                assert after[1] != before[1], f"{act.__name__} was not heard (seed {seed})"
                changed.add(act.__name__)
    assert "rotates" in changed, f"the walk changed only {changed} (seed {seed})"
    print(f"changed by {sorted(changed)}")

"""A proof is used once, whichever process sees it, and the memory of proofs does not grow."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from libs.common.access import proof_memory
from libs.common.access.dpop import DpopProof
from libs.common.access.proof_memory import ProofsInPostgres, forget_old_proofs
from libs.common.access.refusals import InvalidProof
from libs.common.database.pool import Database
from libs.common.runtime.settings import Settings
from tests.access.tokens import CAISSE

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def a_proof(at: datetime = NOW) -> DpopProof:
    return DpopProof(jkt="key", jti=str(uuid4()), issued_at=at, memory_key=uuid4().bytes * 2)


async def test_a_proof_works_once(adherent_db: Database) -> None:
    memory, proof = ProofsInPostgres(adherent_db), a_proof()
    await memory.remember(CAISSE, proof)
    with pytest.raises(InvalidProof, match="replayed"):
        await memory.remember(CAISSE, proof)


async def test_two_processes_share_the_memory(settings: Settings, adherent_db: Database) -> None:
    other = await Database.open(settings.adherent.dsn, name="another process")
    try:
        for _ in range(20):
            proof = a_proof()
            answers = await asyncio.gather(
                ProofsInPostgres(adherent_db).remember(CAISSE, proof),
                ProofsInPostgres(other).remember(CAISSE, proof),
                return_exceptions=True,
            )
            assert sorted(type(answer).__name__ for answer in answers) == ["InvalidProof", "NoneType"]
    finally:
        await other.close()


async def test_the_memory_is_logged_so_that_a_crash_forgets_nothing(adherent_db: Database) -> None:
    async with adherent_db.transaction(CAISSE) as tx:
        persistence = await tx.fetch(
            "SELECT relpersistence::text FROM pg_class WHERE relname LIKE 'dpop\\_proof\\__' AND relkind = 'r' "
            "AND relnamespace = 'adherent'::regnamespace"
        )
    assert [row[0] for row in persistence] == ["p"] * 4


async def test_proofs_too_old_to_be_accepted_are_forgotten(
    adherent_db: Database, adherent_relay: Database
) -> None:
    for minute in range(0, 120, 5):
        at = NOW + timedelta(minutes=minute)
        for _ in range(10):
            await ProofsInPostgres(adherent_db).remember(CAISSE, a_proof(at))
        async with adherent_relay.across_caisses() as tx:
            await forget_old_proofs(tx, at)

    async with adherent_db.transaction(CAISSE) as tx:
        assert await tx.fetchval("SELECT count(*) FROM dpop_proof") <= 40


@pytest.mark.parametrize("age", [-30, 0, 60])
async def test_a_proof_that_may_still_be_presented_is_never_forgotten(
    adherent_db: Database, adherent_relay: Database, age: int
) -> None:
    for second in range(0, 1500, 37):
        now = NOW + timedelta(hours=5, seconds=second)
        proof = a_proof(now - timedelta(seconds=age))
        await ProofsInPostgres(adherent_db).remember(CAISSE, proof)
        async with adherent_relay.across_caisses() as tx:
            await forget_old_proofs(tx, now)
        async with adherent_db.transaction(CAISSE) as tx:
            assert not await proof_memory.remember(tx, proof)


async def test_the_service_itself_may_not_empty_the_memory(adherent_db: Database) -> None:
    async with adherent_db.transaction(CAISSE) as tx:
        assert not await tx.fetchval(
            "SELECT has_function_privilege(current_user, 'empty_dpop_slot(integer)', 'execute')"
        )

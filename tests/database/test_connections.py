"""Connections at hand: taken at no cost while nobody waits, and never held back from whoever does."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from libs.common.database import connections
from libs.common.database.connections import AT_HAND, Connections
from libs.common.database.transaction import DatabaseUnavailable
from libs.common.runtime.settings import Settings

SIZE = AT_HAND + 2


@pytest.fixture
async def some(settings: Settings) -> AsyncIterator[Connections]:
    pool = await asyncpg.create_pool(settings.identity.dsn, min_size=1, max_size=SIZE)
    some = Connections(pool)
    yield some
    await some.close()


async def pid_of(some: Connections) -> int:
    async with some.taken() as connection:
        return await connection.fetchval("SELECT pg_backend_pid()")


async def test_one_after_another_is_the_same_connection(some: Connections) -> None:
    assert len({await pid_of(some) for _ in range(10)}) == 1


async def test_as_many_as_the_pool_has_and_no_more(
    some: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = [await some.take() for _ in range(SIZE)]
    with monkeypatch.context() as patience, pytest.raises(DatabaseUnavailable):
        patience.setattr(connections, "ACQUIRE_TIMEOUT", 0.1)
        await some.take()
    for one in taken:
        await some.give_back(one, clean=True)
    again = [await some.take() for _ in range(SIZE)]
    assert len({await one.fetchval("SELECT pg_backend_pid()") for one in again}) == SIZE
    for one in again:
        await some.give_back(one, clean=True)


async def test_whoever_waits_comes_before_whoever_comes_back(some: Connections) -> None:
    """One caller that takes, gives back and takes again for ever does not starve those who wait."""
    taken = [await some.take() for _ in range(SIZE)]
    waiting = [asyncio.create_task(some.take()) for _ in range(SIZE)]
    await asyncio.sleep(0.05)
    for one in taken:
        await some.give_back(one, clean=True)
        greedy = asyncio.create_task(some.take())
        await asyncio.sleep(0)
        assert not greedy.done()
        greedy.cancel()
    served = await asyncio.wait_for(asyncio.gather(*waiting), 1)
    for one in served:
        await some.give_back(one, clean=True)


async def test_a_connection_that_died_at_hand_is_not_handed_out(
    some: Connections, settings: Settings
) -> None:
    dead = await pid_of(some)
    other = await asyncpg.connect(settings.identity.dsn)
    assert await other.fetchval("SELECT pg_terminate_backend($1)", dead)
    await other.close()
    await asyncio.sleep(0.1)
    assert await pid_of(some) != dead


async def test_what_an_exception_leaves_is_cleaned(some: Connections) -> None:
    with pytest.raises(asyncpg.DivisionByZeroError):
        async with some.taken() as connection:
            await connection.execute("BEGIN")
            await connection.execute("SELECT 1 / 0")
    async with some.taken() as connection:
        assert not connection.is_in_transaction()
        assert await connection.fetchval("SELECT 1") == 1


@pytest.mark.parametrize("is_at_hand", [False, True])
async def test_one_that_dies_as_it_goes_back_to_the_pool_is_nobody_s_error(
    some: Connections, is_at_hand: bool
) -> None:
    """asyncpg lets it go by itself, and then refuses to take it back."""
    one = await some.take()
    if is_at_hand:
        await some.give_back(one, clean=True)
    asyncio.get_running_loop().call_soon(one.terminate)
    if is_at_hand:
        await some.close()
        return
    await some.give_back(one, clean=False)
    another = await some.take()
    assert await another.fetchval("SELECT 1") == 1
    await some.give_back(another, clean=True)

"""Callers who ask the same of one caisse at once: one message, and each its own answer."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import asyncpg
import pytest

from libs.common.database.gathering import (
    CARRIED,
    LONGEST_WAIT,
    PATIENCE,
    UNDER_WAY,
    Arguments,
    Gathering,
    Kind,
)
from libs.common.database.pool import Database
from libs.common.database.transaction import DatabaseUnavailable, Row
from libs.common.runtime.settings import Settings
from libs.common.values.caisse_slug import parse_caisse_slug
from tests.conftest import Servers

MEDITERRANEE, GRAND_OUEST = parse_caisse_slug("mediterranee"), parse_caisse_slug("grand-ouest")
TWICE = "SELECT 2 * $1::int AS answer"
SHARE = "SELECT 100 / $1::int AS answer"
SEEN = "SELECT count(*) AS answer, pg_current_xact_id()::text AS message FROM inbox WHERE consumer = $1"
WRITE = """
    WITH part AS (INSERT INTO inbox (caisse, consumer, event_id)
                  SELECT set_config('espace.caisse', $1, true), $2, md5($3::text)::uuid FROM pg_sleep($4)
                  RETURNING true)
    SELECT set_config('lock_timeout', $5, true) FROM part"""


class Post:
    """The messages of one gathering over one real connection."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self.connection = connection
        self.carried: list[int] = []
        self.left = asyncio.Event()
        self.gathering = Gathering(self.send)
        self._one_at_a_time = asyncio.Lock()

    async def send(self, sql: str, callers: Sequence[Arguments]) -> list[Row]:
        self.carried.append(len(callers))
        self.left.set()
        async with self._one_at_a_time:
            return await self.connection.fetchmany(sql, callers)

    async def ask(self, number: int, sql: str = TWICE) -> int:
        return (await self.gathering.ask(Kind(sql, MEDITERRANEE), (number,)))["answer"]


@pytest.fixture
async def post(settings: Settings):
    connection = await asyncpg.connect(settings.identity.dsn)
    yield Post(connection)
    await connection.close()


@pytest.fixture
async def empty_inbox(identity_db: Database) -> Database:
    for caisse in (MEDITERRANEE, GRAND_OUEST):
        async with identity_db.transaction(caisse) as tx:
            await tx.execute("DELETE FROM inbox")
    return identity_db


async def test_callers_at_once_leave_together_and_each_has_its_own_answer(post: Post) -> None:
    assert await asyncio.gather(*(post.ask(number) for number in range(20))) == [2 * n for n in range(20)]
    assert post.carried == [20]


async def test_callers_who_come_while_others_wait_leave_with_the_next_message(post: Post) -> None:
    first = [asyncio.create_task(post.ask(0)) for _ in range(3)]
    await post.left.wait()
    assert await asyncio.gather(*(post.ask(number) for number in range(9))) == [2 * n for n in range(9)]
    await asyncio.gather(*first)
    assert post.carried == [3, 9]


async def test_a_message_carries_so_many_and_no_more(post: Post) -> None:
    crowd = 2 * CARRIED + 5
    assert await asyncio.gather(*(post.ask(n) for n in range(crowd))) == [2 * n for n in range(crowd)]
    assert post.carried == [CARRIED, CARRIED, 5]


async def test_the_fault_of_one_is_nobody_else_s(post: Post) -> None:
    found = await asyncio.gather(*(post.ask(n, SHARE) for n in (1, 0, 4, 5)), return_exceptions=True)
    assert [found[0], found[2], found[3]] == [100, 25, 20]
    assert isinstance(found[1], asyncpg.DivisionByZeroError)


async def test_the_fault_of_one_costs_its_message_a_few_more_and_not_one_for_each(post: Post) -> None:
    asked = [post.ask(n % CARRIED, SHARE) for n in range(1, CARRIED + 1)]
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert len([fault for fault in found if isinstance(fault, asyncpg.DivisionByZeroError)]) == 1
    assert len(post.carried) <= 1 + 2 * CARRIED.bit_length()


async def test_a_value_that_cannot_even_be_sent_is_nobody_else_s_fault(post: Post) -> None:
    found = await asyncio.gather(*(post.ask(n) for n in (1, 2**40, 3)), return_exceptions=True)
    assert [found[0], found[2]] == [2, 6] and isinstance(found[1], asyncpg.DataError)


async def test_whoever_leaves_before_the_message_is_not_in_it(post: Post) -> None:
    staying = [asyncio.create_task(post.ask(n)) for n in range(3)]
    leaving = asyncio.create_task(post.ask(9))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await asyncio.gather(*staying) == [0, 2, 4]
    assert leaving.cancelled() and sum(post.carried) == 3


async def test_whoever_leaves_afterwards_takes_no_answer_from_the_others(post: Post) -> None:
    tasks = [asyncio.create_task(post.ask(n)) for n in range(4)]
    await post.left.wait()
    tasks[1].cancel()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [found[0], found[2], found[3]] == [0, 4, 6]


async def test_a_message_ended_before_its_time_leaves_nobody_waiting_and_the_next_goes_on(
    settings: Settings,
) -> None:
    stuck = asyncio.Event()

    async def send(sql: str, callers: Sequence[Arguments]) -> list[Row]:
        if not stuck.is_set():
            stuck.set()
            raise asyncio.CancelledError
        connection = await asyncpg.connect(settings.identity.dsn)
        try:
            return await connection.fetchmany(sql, callers)
        finally:
            await connection.close()

    gathering = Gathering(send)
    asking = [gathering.ask(Kind(TWICE, MEDITERRANEE), (n,)) for n in range(2 * CARRIED)]
    found = await asyncio.wait_for(asyncio.gather(*asking, return_exceptions=True), 5)
    assert all(isinstance(heard, DatabaseUnavailable) for heard in found)
    assert (await asyncio.wait_for(gathering.ask(Kind(TWICE, MEDITERRANEE), (4,)), 5))["answer"] == 8
    assert len(gathering) == 0


async def test_a_statement_that_may_find_nothing_has_no_place_here(post: Post) -> None:
    with pytest.raises(RuntimeError, match="not one row"):
        await post.ask(1, "SELECT 1 AS answer WHERE $1::int = 0")


async def test_nothing_is_kept_of_a_kind_once_answered(post: Post) -> None:
    await asyncio.gather(*(post.ask(n, f"{TWICE} -- {n}") for n in range(50)))
    assert len(post.gathering) == 0


async def test_two_caisses_ask_the_same_in_one_message_and_each_sees_its_own(empty_inbox: Database) -> None:
    async with empty_inbox.transaction(MEDITERRANEE) as tx:
        await tx.execute(
            "INSERT INTO inbox (caisse, consumer, event_id) SELECT $1, 'c', gen_random_uuid() "
            "FROM generate_series(1, 3)",
            MEDITERRANEE,
        )

    async def seen(turn: int) -> tuple[int, str]:
        read = empty_inbox.one_statement((MEDITERRANEE, GRAND_OUEST)[turn % 2])
        row = await read.one_row(SEEN, "c")
        return row["answer"], row["message"]

    found = await asyncio.gather(*(seen(turn) for turn in range(60)))
    assert [answer for answer, _ in found] == [3, 0] * 30
    assert len({message for _, message in found}) == 2


async def remember(db: Database, name: int, after: float = 0) -> None:
    await db.write_alone(MEDITERRANEE, WRITE, (MEDITERRANEE, "w", str(name), after), shares=True)


async def written(db: Database) -> int:
    return await db.one_statement(MEDITERRANEE).fetchval("SELECT count(*) FROM inbox WHERE consumer = 'w'")


async def test_of_two_who_write_the_same_row_at_once_one_wins_and_nobody_else_loses(
    empty_inbox: Database,
) -> None:
    names = [0, 1, 2, 2, 3, 4, 5]
    found = await asyncio.gather(
        *(remember(empty_inbox, name) for name in names),
        return_exceptions=True,
    )
    assert len([lost for lost in found if isinstance(lost, asyncpg.UniqueViolationError)]) == 1
    assert found.count(None) == 6 and await written(empty_inbox) == 6


async def test_a_message_whose_connection_dies_is_heard_by_all_and_not_sent_again(
    empty_inbox: Database, settings: Settings
) -> None:
    writing = [asyncio.create_task(remember(empty_inbox, name, 1.5)) for name in range(4)]
    killer = await asyncpg.connect(settings.identity.dsn)
    try:
        killed = 0
        while not killed:
            await asyncio.sleep(0.01)
            killed = await killer.fetchval(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE query LIKE '%pg_sleep($4)%' AND state = 'active' AND pid <> pg_backend_pid()"
            )
    finally:
        await killer.close()
    found = await asyncio.gather(*writing, return_exceptions=True)

    assert all(isinstance(heard, DatabaseUnavailable) for heard in found)
    assert await written(empty_inbox) == 0


@pytest.fixture
async def deadlocks_stay(servers: Servers, database_name: str) -> AsyncIterator[None]:
    """PostgreSQL looks for none before each statement's own two seconds are over."""
    superuser = await asyncpg.connect(servers.postgres.dsn(database_name))
    role = f"ROLE identity_app IN DATABASE {database_name}"
    await superuser.execute(f"ALTER {role} SET deadlock_timeout = '1min'")
    yield
    await superuser.execute(f"ALTER {role} RESET deadlock_timeout")
    await superuser.close()


@pytest.mark.usefixtures("empty_inbox", "deadlocks_stay")
async def test_two_processes_that_write_the_same_rows_in_other_orders_do_not_hold_each_other(
    settings: Settings,
) -> None:
    """PostgreSQL looks for a deadlock after a second only: whoever replays could stop all others for that long."""
    one, other = [await Database.open(settings.identity.dsn, name="a process") for _ in range(2)]
    try:
        # Connected both, and the statement prepared.
        await asyncio.gather(remember(one, -1), remember(other, -2))
        found = await asyncio.gather(
            *(remember(one, name, 0.05) for name in (0, 1, 2)),
            *(remember(other, name, 0.05) for name in (1, 0, 3)),
            return_exceptions=True,
        )
        assert len([lost for lost in found if isinstance(lost, asyncpg.UniqueViolationError)]) == 2
        assert found.count(None) == 4 and await written(one) == 6
    finally:
        await one.close()
        await other.close()


async def test_a_row_that_many_change_holds_half_of_the_connections_at_most(
    empty_inbox: Database, settings: Settings
) -> None:
    """One cabinet's machines, all at its allowance, leave the others room."""
    db = await Database.open(settings.identity.dsn, name="one process", max_size=4)
    try:
        async with empty_inbox.transaction(MEDITERRANEE) as tx:
            await tx.execute(
                "INSERT INTO inbox (caisse, consumer, event_id) VALUES ($1, 'w', md5('0')::uuid)",
                MEDITERRANEE,
            )
            hot = [
                asyncio.create_task(
                    db.write_alone(MEDITERRANEE, WRITE, (MEDITERRANEE, "w", "0", 0.0), shares=False)
                )
                for _ in range(12)
            ]
            await asyncio.sleep(0.2)
            read = db.one_statement(MEDITERRANEE)
            # Were every connection held, none would be had in time.
            assert await read.fetchval("SELECT 1") == 1
        found = await asyncio.gather(*hot, return_exceptions=True)
    finally:
        await db.close()
    assert all(isinstance(lost, asyncpg.UniqueViolationError) for lost in found)


async def test_one_message_that_hangs_does_not_hold_the_next(empty_inbox: Database) -> None:
    assert UNDER_WAY > 1
    read = empty_inbox.one_statement(MEDITERRANEE)
    sleeping = "SELECT $1::float8 AS answer FROM pg_sleep($1)"
    slow = asyncio.create_task(read.one_row(sleeping, 1.5))
    await asyncio.sleep(0.2)
    assert (await read.one_row(sleeping, 0.0))["answer"] == 0
    assert not slow.done()
    await slow


async def test_once_the_one_that_hung_is_back_messages_leave_one_at_a_time_again() -> None:
    hung, at_once = asyncio.Event(), list[int]()
    under_way = 0

    async def send(_: str, callers: Sequence[Arguments]) -> list[Row]:
        nonlocal under_way
        under_way += 1
        at_once.append(under_way)
        await (hung.wait() if len(at_once) == 1 else asyncio.sleep(0.01))
        under_way -= 1
        return [cast(Any, {})] * len(callers)

    gathering = Gathering(send)
    asking = [asyncio.create_task(gathering.ask(Kind(TWICE, MEDITERRANEE), (0,)))]
    await asyncio.sleep(2 * PATIENCE)
    for turn in range(200):
        asking.append(asyncio.create_task(gathering.ask(Kind(TWICE, MEDITERRANEE), (turn,))))
        await asyncio.sleep(0.001)
        if turn == 50:
            assert at_once[-1] == 2
            hung.set()
    await asyncio.gather(*asking)

    assert at_once[-5:] == [1] * 5
    assert len(gathering) == 0


async def test_nobody_waits_long_behind_messages_that_hang() -> None:
    async def send(_: str, callers: Sequence[Arguments]) -> list[Row]:
        await asyncio.sleep(0.8)
        raise DatabaseUnavailable

    gathering, asked = Gathering(send), time.monotonic()
    crowd = [gathering.ask(Kind(TWICE, MEDITERRANEE), (n,)) for n in range(32 * CARRIED)]
    found = await asyncio.gather(*crowd, return_exceptions=True)

    assert all(isinstance(heard, DatabaseUnavailable) for heard in found)
    # Carried one after another, the last of them would have left after twelve.
    assert time.monotonic() - asked < LONGEST_WAIT + 5
    assert len(gathering) == 0


async def test_whoever_has_gone_is_not_sent_again_when_a_message_fails(empty_inbox: Database) -> None:
    """Else a caller who is no longer there would spend what they might still use."""
    writing = [asyncio.create_task(remember(empty_inbox, name, 0.3)) for name in (2, 1, 1)]
    await asyncio.sleep(0.1)
    writing[0].cancel()
    found = await asyncio.gather(*writing, return_exceptions=True)
    assert sorted(type(one).__name__ for one in found) == [
        "CancelledError",
        "NoneType",
        "UniqueViolationError",
    ]
    assert await written(empty_inbox) == 1

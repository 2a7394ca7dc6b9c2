"""A reaction happens once; a fact that cannot be digested is laid aside and the others go on."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator
from datetime import timedelta
from uuid import UUID

import pytest
from nats.js.errors import NotFoundError

from libs.common.bus.connection import Bus
from libs.common.bus.consumer import Reaction, consume
from libs.common.bus.hear_again import hear_again
from libs.common.database.pool import Database
from libs.common.database.transaction import Tx
from libs.common.events.envelope import Event, encode
from libs.common.events.identity import AccountActivated, AdherentImported
from libs.common.refusals import Unavailable
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.identifiers import new_id
from tests.bus.conftest import CAISSE, an_account, record, relaying, until
from tests.relays import keep_streams


@contextlib.asynccontextmanager
async def consuming(
    bus: Bus, db: Database, durable: str, handlers: dict[type[Event], Reaction]
) -> AsyncGenerator[None, None]:
    stop = asyncio.Event()
    task = asyncio.create_task(consume(bus, db, "IDENTITY", durable, handlers, stop=stop))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(task, 5)


@pytest.fixture
async def durable(identity_bus: Bus, identity_relay: Database) -> str:
    """A consumer's name of this test's own, on a declared stream."""
    await keep_streams(identity_bus, identity_relay, "identity")
    return f"test_{secrets.token_hex(4)}"


async def heard(db: Database, consumer: str) -> int:
    async with db.transaction(CAISSE) as tx:
        return await tx.fetchval("SELECT count(*) FROM inbox WHERE consumer = $1", consumer)


async def dead_letters(db: Database, consumer: str) -> list[tuple[UUID, str]]:
    async with db.transaction(CAISSE) as tx:
        rows = await tx.fetch("SELECT event_id, reason FROM dead_letter WHERE consumer = $1", consumer)
    return [(row["event_id"], row["reason"]) for row in rows]


async def test_a_fact_is_heard_once_however_often_it_is_sent(
    identity_bus: Bus, adherent_bus: Bus, identity_db: Database, identity_relay: Database, adherent_db: Database,
    durable: str,
) -> None:  # fmt: skip
    effects: list[UUID] = []

    async def note(tx: Tx, event: AccountActivated) -> None:
        effects.append(event.event_id)

    facts = [an_account() for _ in range(20)]
    mine = {fact.event_id for fact in facts}
    async with (
        relaying(identity_bus, identity_relay),
        consuming(adherent_bus, adherent_db, durable, {AccountActivated: note}),
    ):
        await record(identity_db, *facts)
        await until(lambda: _contains(effects, mine))
        # The broker forgets message ids after two minutes; the inbox does not.
        for fact in facts:
            await identity_bus.publish_all(
                [(new_id(), "identity.mediterranee.account.activated.v1", encode(fact))]
            )
        await until(lambda: _all_acknowledged(adherent_bus, durable))

    assert sorted(str(e) for e in effects if e in mine) == sorted(map(str, mine))


async def _contains(effects: list[UUID], wanted: set[UUID]) -> bool:
    return wanted <= set(effects)


async def _all_acknowledged(bus: Bus, durable: str) -> bool:
    info = await bus.jetstream.consumer_info("IDENTITY", durable)
    return info.num_pending == 0 and info.num_ack_pending == 0


async def test_only_the_subjects_one_reacts_to_are_delivered(
    identity_bus: Bus, adherent_bus: Bus, adherent_db: Database, durable: str
) -> None:
    async def ignore(tx: Tx, event: AdherentImported) -> None: ...

    async with consuming(adherent_bus, adherent_db, durable, {AdherentImported: ignore}):
        await until(lambda: _exists(adherent_bus, durable))
        info = await adherent_bus.jetstream.consumer_info("IDENTITY", durable)

    assert info.config.filter_subjects == ["identity.*.adherent.imported.v1"]


async def _exists(bus: Bus, durable: str) -> bool:
    try:
        await bus.jetstream.consumer_info("IDENTITY", durable)
    except NotFoundError:
        return False
    return True


async def test_a_fact_that_always_fails_is_laid_aside_after_five_attempts_and_the_others_go_on(
    identity_bus: Bus, adherent_bus: Bus, identity_db: Database, identity_relay: Database, adherent_db: Database,
    durable: str,
) -> None:  # fmt: skip
    poison, good = an_account(), [an_account() for _ in range(5)]
    attempts: list[UUID] = []
    done: list[UUID] = []

    async def digest(tx: Tx, event: AccountActivated) -> None:
        if event.event_id == poison.event_id:
            attempts.append(event.event_id)
            raise ZeroDivisionError
        done.append(event.event_id)

    async with (
        relaying(identity_bus, identity_relay),
        consuming(adherent_bus, adherent_db, durable, {AccountActivated: digest}),
    ):
        await record(identity_db, poison, *good)
        await until(lambda: _contains(done, {fact.event_id for fact in good}))
        assert len(attempts) < 5
        await until(lambda: _has_dead_letter(adherent_db, durable))

    assert len(attempts) == 5
    assert await dead_letters(adherent_db, durable) == [(poison.event_id, "ZeroDivisionError")]


async def test_what_was_delivered_and_never_tried_counts_for_nothing(
    identity_bus: Bus, adherent_bus: Bus, identity_db: Database, identity_relay: Database, adherent_db: Database,
    durable: str,
) -> None:  # fmt: skip
    """Behind a slow fact of its batch, a message is delivered anew every thirty seconds."""
    fact = an_account()
    tries: list[UUID] = []

    async def fails(tx: Tx, event: AccountActivated) -> None:
        if event.event_id == fact.event_id:
            tries.append(event.event_id)
            raise ZeroDivisionError

    async with relaying(identity_bus, identity_relay):
        async with consuming(adherent_bus, adherent_db, durable, {AccountActivated: fails}):
            await until(lambda: _exists(adherent_bus, durable))
            await until(lambda: _all_acknowledged(adherent_bus, durable))
        await record(identity_db, fact)
        delivered = 0
        pull = await adherent_bus.jetstream.pull_subscribe_bind(durable, "IDENTITY")
        while delivered < 6:
            for message in await pull.fetch(1, timeout=10):
                delivered = message.metadata.num_delivered or 0
                await message.nak()
        await pull.unsubscribe()
        async with consuming(adherent_bus, adherent_db, durable, {AccountActivated: fails}):
            await until(lambda: _has_dead_letter(adherent_db, durable))

    assert len(tries) == 5


async def test_an_outage_before_it_takes_no_try_from_a_fact(
    identity_bus: Bus, adherent_bus: Bus, identity_db: Database, identity_relay: Database, adherent_db: Database,
    durable: str,
) -> None:  # fmt: skip
    fact = an_account()
    heard: list[str] = []

    async def is_away_then_fails(tx: Tx, event: AccountActivated) -> None:
        if event.event_id != fact.event_id:
            return
        heard.append("away" if len(heard) < 5 else "failed")
        if heard[-1] == "away":
            raise Unavailable("the outside")
        raise ZeroDivisionError

    async with (
        relaying(identity_bus, identity_relay),
        consuming(adherent_bus, adherent_db, durable, {AccountActivated: is_away_then_fails}),
    ):
        await record(identity_db, fact)
        await until(lambda: _has_dead_letter(adherent_db, durable), within=timedelta(seconds=30))

    assert heard.count("failed") == 5


async def test_once_the_cause_is_mended_what_was_laid_aside_is_heard_again_and_nothing_twice(
    identity_bus: Bus, adherent_bus: Bus, identity_db: Database, identity_relay: Database, adherent_db: Database,
    adherent_relay: Database, durable: str,
) -> None:  # fmt: skip
    poison, good = an_account(), an_account()
    is_mended = False
    done: list[UUID] = []

    async def digest(tx: Tx, event: AccountActivated) -> None:
        if event.event_id == poison.event_id and not is_mended:
            raise ZeroDivisionError
        done.append(event.event_id)

    async with (
        relaying(identity_bus, identity_relay),
        consuming(adherent_bus, adherent_db, durable, {AccountActivated: digest}),
    ):
        await record(identity_db, poison, good)
        await until(lambda: _has_dead_letter(adherent_db, durable))
        is_mended = True
        again = await hear_again(adherent_bus, adherent_relay)
        assert poison.event_id in {one.event_id for one in again if one.consumer == durable}
        await until(lambda: _contains(done, {poison.event_id, good.event_id}))

    assert sorted(event for event in done if event in (poison.event_id, good.event_id)) == sorted(
        [poison.event_id, good.event_id]
    )
    assert await dead_letters(adherent_db, durable) == []


async def _has_dead_letter(db: Database, durable: str) -> bool:
    return await dead_letters(db, durable) != []


async def test_an_unreadable_message_is_laid_aside_at_once(
    identity_bus: Bus, adherent_bus: Bus, adherent_db: Database, durable: str
) -> None:
    async def never(tx: Tx, event: AccountActivated) -> None: ...

    key = new_id()
    await identity_bus.publish_all([(key, "identity.mediterranee.account.activated.v1", b"\xff not JSON")])
    async with consuming(adherent_bus, adherent_db, durable, {AccountActivated: never}):
        await until(lambda: _has_dead_letter(adherent_db, durable))

    assert (key, "UnknownEvent") in await dead_letters(adherent_db, durable)


async def test_an_outage_of_what_the_reaction_needs_never_makes_a_dead_letter(
    identity_bus: Bus, adherent_bus: Bus, identity_db: Database, identity_relay: Database, adherent_db: Database,
    durable: str,
) -> None:  # fmt: skip
    fact = an_account()
    attempts: list[UUID] = []

    async def depend(tx: Tx, event: AccountActivated) -> None:
        if event.event_id != fact.event_id:
            return
        attempts.append(event.event_id)
        if len(attempts) < 6:
            raise Unavailable("the outside")

    async with (
        relaying(identity_bus, identity_relay),
        consuming(adherent_bus, adherent_db, durable, {AccountActivated: depend}),
    ):
        await record(identity_db, fact)
        await until(lambda: _len_is(attempts, 6))
        await until(lambda: _all_acknowledged(adherent_bus, durable))

    assert fact.event_id not in {key for key, _ in await dead_letters(adherent_db, durable)}


async def _len_is(things: list[UUID], wanted: int) -> bool:
    return len(things) == wanted


async def test_the_effect_and_the_memory_of_it_share_one_fate(
    identity_bus: Bus, adherent_bus: Bus, identity_db: Database, identity_relay: Database, adherent_db: Database,
    durable: str,
) -> None:  # fmt: skip
    fact = an_account()
    seen: list[UUID] = []

    async def write_then_fail_once(tx: Tx, event: AccountActivated) -> None:
        if event.event_id != fact.event_id:
            return
        seen.append(event.event_id)
        await tx.execute(
            "INSERT INTO dead_letter (caisse, consumer, event_id, subject, body, reason) "
            "VALUES ($1, $2, $3, '', '', 'the effect')",
            CAISSE, f"{durable}_effect", event.event_id,
        )  # fmt: skip
        if len(seen) == 1:
            raise ZeroDivisionError

    async with (
        relaying(identity_bus, identity_relay),
        consuming(adherent_bus, adherent_db, durable, {AccountActivated: write_then_fail_once}),
    ):
        await record(identity_db, fact)
        await until(lambda: _len_is(seen, 2))
        await until(lambda: _all_acknowledged(adherent_bus, durable))

    assert await dead_letters(adherent_db, f"{durable}_effect") == [(fact.event_id, "the effect")]


async def test_the_caisse_of_the_fact_is_the_tenant_of_the_reaction(
    identity_bus: Bus, adherent_bus: Bus, identity_db: Database, identity_relay: Database, adherent_db: Database,
    durable: str,
) -> None:  # fmt: skip
    tenants: list[CaisseSlug] = []
    fact = an_account()

    async def note(tx: Tx, event: AccountActivated) -> None:
        if event.event_id == fact.event_id:
            tenants.append(tx.the_caisse)

    async with (
        relaying(identity_bus, identity_relay),
        consuming(adherent_bus, adherent_db, durable, {AccountActivated: note}),
    ):
        await record(identity_db, fact, caisse=CaisseSlug("grand-ouest"))
        await until(lambda: _any(tenants))

    assert tenants == ["grand-ouest"]


async def _any(things: list[CaisseSlug]) -> bool:
    return things != []

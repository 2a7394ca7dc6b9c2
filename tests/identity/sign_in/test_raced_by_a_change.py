"""A password changed, or its person stopped, while it serves: what was verified against the former opens nothing.

The change is dated before the sign-in: of the two, only the row that both await tells which came first.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from typing import Any

import httpx
import pytest
from litestar import Litestar

from libs.common.database.pool import Database
from libs.common.database.transaction import Tx
from services.identity.sign_in import store as people
from tests.conftest import HeldClock
from tests.identity.sign_in.test_sign_in import SECOND, SESSION, enrolled, value_at
from tests.identity.sign_in.test_step_up import STEP_UP
from tests.identity.sign_in.visitors import CAISSE, GOOD_PASSWORD, Post, Visitor, sign_in


async def password_changed(tx: Tx, person: people.Person, clock: HeldClock) -> None:
    await people.set_password(tx, person.id, "$argon2id$another", now=clock() - timedelta(minutes=5))


async def person_suspended(tx: Tx, person: people.Person, clock: HeldClock) -> None:
    await people.suspend(tx, person.id, now=clock() - timedelta(minutes=5))


Change = Callable[[Tx, people.Person, HeldClock], Awaitable[None]]
CHANGES: list[Change] = [password_changed, person_suspended]


async def while_it_changes(
    db: Database, email: str, clock: HeldClock, change: Change, act: Coroutine[Any, Any, httpx.Response]
) -> httpx.Response:
    """`act` is at the row that the change holds; then the change is committed, and `act` goes on to its answer."""
    async with db.transaction(CAISSE) as tx:
        person = await people.find_person(tx, email_key=email)
        assert person is not None
        await change(tx, person, clock)
        acting = asyncio.create_task(act)
        await somebody_awaits_a_row(db)
    return await acting


async def somebody_awaits_a_row(db: Database) -> None:
    async with asyncio.timeout(10), db.transaction(CAISSE) as tx:
        while not await tx.fetchval(  # noqa: ASYNC110
            "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND"
            " pid IN (SELECT pid FROM pg_stat_activity WHERE datname = current_database()))"
        ):
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("change", CHANGES)
async def test_a_sign_in_under_way(
    app: Litestar, identity_db: Database, clock: HeldClock, post: Post, change: Change
) -> None:
    email = f"first-{change.__name__}@cabinet.fr"
    await enrolled(app, identity_db, clock, post, email)
    browser = Visitor(app)
    await browser.get(f"/{CAISSE}/sign-in")
    answer = await while_it_changes(identity_db, email, clock, change, sign_in(browser, email))
    assert answer.status_code == 422
    assert (await browser.get(SECOND)).headers["location"].endswith("/sign-in?again")


@pytest.mark.parametrize("change", CHANGES)
async def test_a_second_step_under_way(
    app: Litestar, identity_db: Database, clock: HeldClock, post: Post, change: Change
) -> None:
    email = f"second-{change.__name__}@cabinet.fr"
    secret = await enrolled(app, identity_db, clock, post, email)
    clock.forward(minutes=2)
    browser = Visitor(app)
    await browser.follow(await sign_in(browser, email))
    typed = browser.post(SECOND, code=value_at(secret, clock))
    answer = await while_it_changes(identity_db, email, clock, change, typed)
    assert answer.status_code == 303 and "/sign-in" in answer.headers["location"]
    assert browser.cookie(SESSION) is None


@pytest.mark.parametrize("change", CHANGES)
async def test_a_step_up_under_way(
    app: Litestar, identity_db: Database, clock: HeldClock, post: Post, change: Change
) -> None:
    email = f"third-{change.__name__}@cabinet.fr"
    secret = await enrolled(app, identity_db, clock, post, email)
    clock.forward(minutes=2)
    browser = Visitor(app)
    await browser.follow(await sign_in(browser, email))
    await browser.post(SECOND, code=value_at(secret, clock))
    assert browser.cookie(SESSION) is not None
    clock.forward(minutes=2)
    await browser.get(STEP_UP)
    typed = browser.post(STEP_UP, password=GOOD_PASSWORD)
    answer = await while_it_changes(identity_db, email, clock, change, typed)
    assert answer.status_code == 422


async def test_a_second_step_of_somebody_suspended_begins_again(
    app: Litestar, identity_db: Database, clock: HeldClock, post: Post
) -> None:
    """Whatever else their suspension ends: the step itself asks who they are now."""
    email = "stopped@cabinet.fr"
    secret = await enrolled(app, identity_db, clock, post, email)
    clock.forward(minutes=2)
    browser = Visitor(app)
    await browser.follow(await sign_in(browser, email))
    async with identity_db.transaction(CAISSE) as tx:
        await tx.execute("UPDATE person SET state = 'suspended' WHERE email_key = $1", email)
    for answer in (await browser.get(SECOND), await browser.post(SECOND, code=value_at(secret, clock))):
        assert answer.status_code == 303 and "/sign-in" in answer.headers["location"]
    assert browser.cookie(SESSION) is None

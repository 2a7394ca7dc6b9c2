"""A stranger can neither lock the owner out, nor learn whether an address has an account."""

import asyncio
import time

import pytest
from litestar import Litestar

from libs.common.database.pool import Database
from services.identity.sign_in.forgotten_password import routes
from services.identity.sign_in.forgotten_password.routes import ANSWERED_AFTER
from tests.conftest import HeldClock
from tests.identity.sign_in.test_new_password import OTHER_PASSWORD, SET, ask, mailed
from tests.identity.sign_in.visitors import CAISSE, Post, Visitor, a_person, link_in, sign_in

ASK = f"/{CAISSE}/forgotten-password"


async def test_the_mailed_link_lets_the_owner_in_while_strangers_hammer(
    app: Litestar, visitor: Visitor, identity_db: Database, clock: HeldClock, post: Post
) -> None:
    await a_person(identity_db, clock, "hammered@exemple.fr")
    thief = Visitor(app, address="198.51.100.7")
    for _ in range(12):
        await sign_in(thief, "hammered@exemple.fr", "wrong wrong wrong")
    assert (await sign_in(visitor, "hammered@exemple.fr")).status_code == 429

    link = await mailed(visitor, "hammered@exemple.fr", post)
    await visitor.post(SET, link=link, new_password=OTHER_PASSWORD)
    assert (await sign_in(visitor, "hammered@exemple.fr", OTHER_PASSWORD)).status_code == 303


async def test_a_stranger_cannot_spend_the_links_of_the_owner_s_own_device(
    app: Litestar, visitor: Visitor, identity_db: Database, clock: HeldClock, post: Post
) -> None:
    await a_person(identity_db, clock, "starved@exemple.fr")
    await sign_in(visitor, "starved@exemple.fr")
    thief = Visitor(app, address="198.51.100.7")
    for _ in range(12):
        await ask(thief, "starved@exemple.fr")
        clock.forward(minutes=61)
    await post.deliver()
    spent = len(post.mailbox.newest("starved@exemple.fr"))

    await ask(visitor, "starved@exemple.fr")
    await post.deliver()
    received = post.mailbox.newest("starved@exemple.fr")
    assert len(received) == spent + 1
    link = link_in(received[0], "link=").partition("link=")[2]
    assert (await visitor.get(f"{SET}?link={link}")).status_code == 200
    # And its own device cannot flood either.
    for _ in range(20):
        await ask(visitor, "starved@exemple.fr")
    await post.deliver()
    assert len(post.mailbox.newest("starved@exemple.fr")) <= spent + 4


async def test_a_forgotten_password_is_answered_at_its_pace_for_somebody_and_for_nobody(
    app: Litestar, identity_db: Database, clock: HeldClock
) -> None:
    """That the times cannot be told apart is measured: `make bench ARGS='--part silence'`."""
    await a_person(identity_db, clock, "somebody@exemple.fr")
    visitor = Visitor(app)
    await visitor.get(ASK)
    for email in ("somebody@exemple.fr", "nobody@exemple.fr"):
        began = time.monotonic()
        assert (await visitor.post(ASK, email=email)).status_code == 200
        assert time.monotonic() - began >= ANSWERED_AFTER, email


async def test_the_mail_is_queued_before_the_wait_and_the_answer_leaves_after_it(
    app: Litestar, identity_db: Database, clock: HeldClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is done for somebody is over, committed, while both wait."""
    monkeypatch.setattr(routes, "ANSWERED_AFTER", 60)
    await a_person(identity_db, clock, "patient@exemple.fr")
    visitor = Visitor(app)
    await visitor.get(ASK)
    answer = asyncio.create_task(visitor.post(ASK, email="patient@exemple.fr"))
    try:
        async with asyncio.timeout(30):
            while not await _links_of(identity_db, "patient@exemple.fr"):  # noqa: ASYNC110 - told by PostgreSQL
                await asyncio.sleep(0.01)
        assert not answer.done()
    finally:
        answer.cancel()
        await asyncio.gather(answer, return_exceptions=True)


async def _links_of(db: Database, email: str) -> int:
    async with db.transaction(CAISSE) as tx:
        links = await tx.fetchval(
            "SELECT count(*) FROM password_reset r JOIN person p ON p.id = r.person_id WHERE p.email_key = $1",
            email,
        )
    return int(links)

"""A stranger can neither lock the owner out, nor learn whether an address has an account."""

import random
import time

from litestar import Litestar

from libs.common.database.pool import Database
from libs.common.values.identifiers import new_id
from tests.conftest import HeldClock
from tests.identity.sign_in.test_new_password import OTHER_PASSWORD, SET, ask, mailed
from tests.identity.sign_in.visitors import CAISSE, Post, Visitor, a_person, link_in, sign_in

ASK = f"/{CAISSE}/forgotten-password"
TRIES = 40


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


async def test_a_forgotten_password_is_answered_in_the_same_time_for_nobody(
    app: Litestar, identity_db: Database, clock: HeldClock
) -> None:
    known = [f"known{number}@exemple.fr" for number in range(TRIES)]
    unknown = [f"nobody{number}@exemple.fr" for number in range(TRIES)]
    async with identity_db.transaction(CAISSE) as tx:
        for email in known:
            await tx.execute(
                "INSERT INTO person (id, email, email_key, full_name, created_at) VALUES ($1, $2, $2, 'X', $3)",
                new_id(),
                email,
                clock(),
            )
    visitor = Visitor(app)
    await visitor.get(ASK)
    asked = known + unknown
    random.Random(5).shuffle(asked)
    took: dict[str, float] = {}
    for email in asked:
        began = time.perf_counter()
        await visitor.post(ASK, email=email)
        took[email] = time.perf_counter() - began
    assert abs(_z([took[e] for e in known], [took[e] for e in unknown])) < 2.58, "Mann–Whitney, p < 0.01"


def _z(some: list[float], others: list[float]) -> float:
    ranked = sorted([(value, True) for value in some] + [(value, False) for value in others])
    ranks = sum(rank for rank, (_, is_ours) in enumerate(ranked, 1) if is_ours)
    n, m = len(some), len(others)
    return (ranks - n * (n + m + 1) / 2) / (n * m * (n + m + 1) / 12) ** 0.5

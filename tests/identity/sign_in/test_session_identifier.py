"""Line 21 of openid.md: the identifier of a session is another one after each sign-in, step-up and sign-out."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from litestar import Litestar

from libs.common.database.pool import Database
from tests.conftest import HeldClock
from tests.identity.sign_in.test_sign_in import SECOND, SESSION, enrolled, value_at
from tests.identity.sign_in.test_step_up import STEP_UP
from tests.identity.sign_in.visitors import (
    CAISSE,
    GOOD_PASSWORD,
    Post,
    Visitor,
    a_person,
    mailed_code,
    sign_in,
)

ACCOUNT = f"/{CAISSE}/account"


@dataclass
class Scene:
    app: Litestar
    db: Database
    clock: HeldClock
    post: Post
    visitor: Visitor
    email: str


async def again_by_password(it: Scene) -> None:
    await sign_in(it.visitor, it.email)


async def as_somebody_else(it: Scene) -> None:
    await a_person(it.db, it.clock, f"other.{it.email}")
    await sign_in(it.visitor, f"other.{it.email}")


async def step_up_by_mail(it: Scene) -> None:
    await it.visitor.follow(await it.visitor.post(STEP_UP, password=GOOD_PASSWORD))
    await it.visitor.post(SECOND, code=await mailed_code(it.post, it.email))


async def another_password(it: Scene) -> None:
    await step_up_by_mail(it)
    await it.visitor.get(ACCOUNT)
    chosen = {"password": GOOD_PASSWORD, "new_password": "quatre échelles de bois"}
    changed = await it.visitor.post(f"{ACCOUNT}/password", **chosen)
    assert changed.status_code == 303, changed.text[-500:]


async def sign_out(it: Scene) -> None:
    await it.visitor.get(f"/{CAISSE}/sign-out")
    await it.visitor.post(f"/{CAISSE}/sign-out")


RENEWED: dict[str, Callable[[Scene], Awaitable[Any]]] = {
    "a sign-in over it": again_by_password,
    "a sign-in of somebody else over it": as_somebody_else,
    "a step-up by a mailed code": step_up_by_mail,
    "another password": another_password,
}


@pytest.fixture
async def scene(
    app: Litestar, visitor: Visitor, identity_db: Database, clock: HeldClock, post: Post, request: Any
) -> Scene:
    """Somebody who has signed in with a password."""
    email = f"line21.{abs(hash(request.node.name))}@exemple.fr"
    await a_person(identity_db, clock, email)
    await sign_in(visitor, email)
    return Scene(app, identity_db, clock, post, visitor, email)


async def opens(app: Litestar, value: str) -> bool:
    """Whether this session cookie, in a browser that has nothing else, opens the account."""
    thief = Visitor(app)
    thief.http.cookies.set(SESSION, value, domain="id.example.test")
    return (await thief.get(ACCOUNT)).status_code == 200


@pytest.mark.parametrize("what", RENEWED)
async def test_line_21_the_former_identifier_opens_nothing(scene: Scene, what: str) -> None:
    before = scene.visitor.cookie(SESSION) or ""
    assert await opens(scene.app, before)

    await RENEWED[what](scene)

    after = scene.visitor.cookie(SESSION) or ""
    assert after and after != before
    assert (await opens(scene.app, before), await opens(scene.app, after)) == (False, True)


async def test_line_21_signing_out_ends_the_identifier(scene: Scene) -> None:
    before = scene.visitor.cookie(SESSION) or ""
    await sign_out(scene)
    assert not scene.visitor.cookie(SESSION)
    assert not await opens(scene.app, before)


async def test_line_21_a_second_factor_changes_the_identifier_of_the_first(
    app: Litestar, visitor: Visitor, identity_db: Database, clock: HeldClock, post: Post
) -> None:
    """At the sign-in itself, where the password alone opens nothing, and at the step-up after it."""
    secret = await enrolled(app, identity_db, clock, post, "line21.both@cabinet.fr")
    await visitor.follow(await sign_in(visitor, "line21.both@cabinet.fr"))
    assert not visitor.cookie(SESSION), "a password alone is no session"
    await visitor.post(SECOND, code=value_at(secret, clock))
    first = visitor.cookie(SESSION) or ""
    assert await opens(app, first)
    clock.forward(minutes=6)
    await visitor.follow(await visitor.post(STEP_UP, password=GOOD_PASSWORD))
    await visitor.post(SECOND, code=value_at(secret, clock))
    stronger = visitor.cookie(SESSION) or ""
    assert stronger != first
    assert (await opens(app, first), await opens(app, stronger)) == (False, True)


async def test_line_21_a_planted_identifier_is_never_the_one_kept(
    app: Litestar, identity_db: Database, clock: HeldClock
) -> None:
    """Fixation, by a value made up and by a living session of the attacker's own."""
    for name in ("attacker", "victim"):
        await a_person(identity_db, clock, f"line21.{name}@exemple.fr")
    attacker = Visitor(app)
    await sign_in(attacker, "line21.attacker@exemple.fr")
    for planted in ("A" * 43, attacker.cookie(SESSION) or ""):
        victim = Visitor(app)
        await victim.get(f"/{CAISSE}/sign-in")
        victim.http.cookies.set(SESSION, planted, domain="id.example.test")
        typed = {"email": "line21.victim@exemple.fr", "password": GOOD_PASSWORD}
        assert (await victim.post(f"/{CAISSE}/sign-in", **typed)).status_code == 303
        kept = victim.cookie(SESSION) or ""
        assert kept != planted and await opens(app, kept)
        thief = Visitor(app)
        thief.http.cookies.set(SESSION, planted, domain="id.example.test")
        page = await thief.get(ACCOUNT)
        assert "line21.victim@exemple.fr" not in page.text

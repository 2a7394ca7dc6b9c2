"""The second step, attacked by somebody who has the password already."""

import pytest
from litestar import Litestar

from libs.common.database.pool import Database
from tests.conftest import HeldClock
from tests.identity.sign_in.test_new_password import OTHER_PASSWORD, SET, mailed
from tests.identity.sign_in.test_sign_in import enrolled, value_at
from tests.identity.sign_in.test_step_up import FACTOR, STEP_UP, mailed_code
from tests.identity.sign_in.visitors import CAISSE, GOOD_PASSWORD, Post, Visitor, a_person, sign_in

SECOND = f"/{CAISSE}/sign-in/second-factor"


async def test_a_second_step_begun_with_the_former_password_ends_with_it(
    app: Litestar, visitor: Visitor, identity_db: Database, clock: HeldClock, post: Post
) -> None:
    # A collaborator who has not enrolled yet: whoever holds the password could enrol in their place.
    await a_person(identity_db, clock, "phished@cabinet.fr", collaborator=True)
    thief = Visitor(app)
    page = await thief.follow(await sign_in(thief, "phished@cabinet.fr"))
    assert page.status_code == 200 and "enrol" in page.text

    clock.forward(seconds=1)
    link = await mailed(visitor, "phished@cabinet.fr", post)
    assert (await visitor.post(SET, link=link, new_password=OTHER_PASSWORD)).status_code == 200

    clock.forward(seconds=1)
    page = await thief.get(SECOND)
    assert page.status_code == 303 and page.headers["location"].endswith("/sign-in")


async def test_guesses_of_the_second_step_are_counted_over_every_password(
    app: Litestar, identity_db: Database, clock: HeldClock
) -> None:
    secret = await enrolled(app, identity_db, clock, "guessed@cabinet.fr")
    thief = Visitor(app)
    judged = 0
    # A day of guesses, as fast as the password's own throttle lets a stranger begin again.
    for _ in range(60):
        clock.forward(seconds=31)
        await sign_in(thief, "guessed@cabinet.fr")
        right = value_at(secret, clock)
        for guess in range(5):
            wrong = f"{(int(right) + 7 + guess) % 1_000_000:06}"
            answer = await thief.post(SECOND, code=wrong)
            judged += answer.status_code == 422
    assert judged <= 40, f"{judged} guesses judged in half an hour"


async def test_the_owner_s_own_device_never_waits_for_a_guesser(
    app: Litestar, identity_db: Database, clock: HeldClock
) -> None:
    secret = await enrolled(app, identity_db, clock, "owner@cabinet.fr")
    owner, thief = Visitor(app), Visitor(app)
    clock.forward(seconds=31)
    await sign_in(owner, "owner@cabinet.fr")
    assert (await owner.post(SECOND, code=value_at(secret, clock))).status_code == 303
    await owner.post(f"/{CAISSE}/sign-out")
    for _ in range(30):
        clock.forward(seconds=31)
        await sign_in(thief, "owner@cabinet.fr")
        for _ in range(5):
            await thief.post(SECOND, code="000000")
    clock.forward(seconds=31)
    await sign_in(owner, "owner@cabinet.fr")
    assert (await owner.post(SECOND, code=value_at(secret, clock))).status_code == 303


async def test_an_application_is_removed_only_by_a_session_that_used_it(
    app: Litestar, visitor: Visitor, identity_db: Database, clock: HeldClock, post: Post
) -> None:
    """KC CVE-2026-3429: a session of two steps, begun before the application, cannot take it away."""
    await a_person(identity_db, clock, "strong@exemple.fr")
    thief = Visitor(app)
    await sign_in(thief, "strong@exemple.fr")
    await thief.post(STEP_UP, password=GOOD_PASSWORD)
    await thief.post(SECOND, code=await mailed_code(post, "strong@exemple.fr"))
    assert (await thief.get(FACTOR)).status_code == 200

    async with identity_db.transaction(CAISSE) as tx:
        await tx.execute(
            "INSERT INTO totp_factor (person_id, secret_encrypted, created_at, confirmed_at)"
            " SELECT id, 'x', $1, $1 FROM person WHERE email = 'strong@exemple.fr'"
            " ON CONFLICT (person_id) DO UPDATE SET confirmed_at = $1",
            clock(),
        )
    removed = await thief.post(f"{FACTOR}/remove", password=GOOD_PASSWORD)
    assert removed.status_code == 303 and "/step-up" in removed.headers["location"]


@pytest.mark.parametrize("path", ["sign-in", "step-up", "account", "first-connection"])
async def test_a_doubled_slash_never_leads_away(app: Litestar, path: str) -> None:
    answer = await Visitor(app).http.get(f"https://id.example.test//evil.example/{path}")
    assert "evil.example" not in answer.headers.get("location", "")

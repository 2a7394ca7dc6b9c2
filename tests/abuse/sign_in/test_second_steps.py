"""The second step, attacked by somebody who has the password already."""

from datetime import datetime, timedelta
from hashlib import sha256

import pytest
from litestar import Litestar

from libs.common.database.pool import Database
from libs.common.http import csrf
from libs.common.values.identifiers import new_id
from services.identity.openid.authorization_request import AuthorizationRequest
from services.identity.openid.flow_store import open_flow
from tests.conftest import HeldClock
from tests.identity.sign_in.test_new_password import OTHER_PASSWORD, SET, mailed
from tests.identity.sign_in.test_sign_in import (
    SECOND,
    SESSION,
    at_the_enrolment,
    enrolled,
    secret_shown,
    value_at,
)
from tests.identity.sign_in.test_step_up import FACTOR, STEP_UP
from tests.identity.sign_in.visitors import (
    CAISSE,
    GOOD_PASSWORD,
    Post,
    Visitor,
    a_person,
    mailed_code,
    sign_in,
)


async def test_a_second_step_begun_with_the_former_password_ends_with_it(
    app: Litestar, visitor: Visitor, identity_db: Database, clock: HeldClock, post: Post
) -> None:
    await a_person(identity_db, clock, "phished@cabinet.fr", collaborator=True)
    thief = Visitor(app)
    page = await thief.follow(await sign_in(thief, "phished@cabinet.fr"))
    assert page.status_code == 200 and "second-factor" in page.text

    clock.forward(seconds=1)
    link = await mailed(visitor, "phished@cabinet.fr", post)
    assert (await visitor.post(SET, link=link, new_password=OTHER_PASSWORD)).status_code == 200

    clock.forward(seconds=1)
    page = await thief.get(SECOND)
    assert page.status_code == 303 and page.headers["location"].endswith("/sign-in?again")


@pytest.mark.parametrize("is_collaborator", [False, True])
async def test_a_password_alone_enrols_nothing_and_steps_up_to_nothing(
    app: Litestar, identity_db: Database, clock: HeldClock, is_collaborator: bool
) -> None:
    email = f"password-only-{is_collaborator}@exemple.fr".lower()
    await a_person(identity_db, clock, email, collaborator=is_collaborator)
    thief = Visitor(app)
    flow = await a_flow(identity_db, thief, clock(), acr="mfa")
    page = await thief.follow(await sign_in(thief, email, flow=flow))
    assert page.status_code == 200 and "otpauth:" not in page.text
    for typed in ("000000", "123456"):
        await thief.post(SECOND, code=typed, flow=flow)
    assert thief.cookie(SESSION) is None
    for path in (FACTOR, f"/{CAISSE}/delegations"):
        assert (await thief.get(path)).status_code == 303
    assert await secrets_shown(identity_db, email) == 0

    # Content with a password, or stepping up from it: the same.
    if not is_collaborator:
        clock.forward(minutes=2)
        await thief.post(f"/{CAISSE}/sign-out")
        await sign_in(thief, email)
        page = await thief.follow(await thief.post(STEP_UP, password=GOOD_PASSWORD))
        assert "otpauth:" not in page.text
        assert (await thief.get(FACTOR)).status_code == 303
        assert await secrets_shown(identity_db, email) == 0


async def test_an_application_removed_meanwhile_opens_no_enrolment(
    app: Litestar, identity_db: Database, clock: HeldClock, post: Post
) -> None:
    """The value was asked, then its owner's factor went: nothing that was not proven is assumed."""
    await enrolled(app, identity_db, clock, post, "gone@cabinet.fr")
    thief = Visitor(app)
    await thief.follow(await sign_in(thief, "gone@cabinet.fr"))
    async with identity_db.transaction(CAISSE) as tx:
        await tx.execute(
            "DELETE FROM totp_factor"
            " WHERE person_id = (SELECT id FROM person WHERE email_key = 'gone@cabinet.fr')"
        )
    page = await thief.get(SECOND)
    assert page.status_code == 303 and page.headers["location"].endswith("/sign-in?again")


async def test_a_secret_shown_is_nobody_else_s_and_does_not_last(
    app: Litestar, visitor: Visitor, identity_db: Database, clock: HeldClock, post: Post
) -> None:
    """Whoever saw one beforehand, with the former password, knows nothing of the one that is enrolled."""
    email = "beforehand@cabinet.fr"
    await a_person(identity_db, clock, email, collaborator=True)
    thief, other = Visitor(app), Visitor(app)
    seen = await at_the_enrolment(thief, post, email)
    clock.forward(minutes=2)
    assert await at_the_enrolment(other, post, email) != seen
    # Each is confirmed where it was shown.
    assert (await other.post(SECOND, code=value_at(seen, clock))).status_code == 422

    # With the password they go: nothing of them is left.
    assert await secrets_shown(identity_db, email) == 2
    link = await mailed(visitor, email, post)
    clock.forward(seconds=1)
    assert (await visitor.post(SET, link=link, new_password=OTHER_PASSWORD)).status_code == 200
    assert await secrets_shown(identity_db, email) == 0
    clock.forward(minutes=2)
    await sign_in(visitor, email, OTHER_PASSWORD)
    page = await visitor.follow(await visitor.post(SECOND, code=await mailed_code(post, email)))
    mine = secret_shown(page.text)
    assert mine != seen

    # Left open for a quarter of an hour, the page is worth nothing.
    clock.forward(minutes=15)
    late = await visitor.post(SECOND, code=value_at(mine, clock))
    assert late.status_code == 303 and late.headers["location"].endswith("/sign-in?again")


async def a_flow(db: Database, visitor: Visitor, now: datetime, *, acr: str) -> str:
    """What any client may ask of this browser: a sign-in at this level."""
    await visitor.get(f"/{CAISSE}/sign-in")
    browser = sha256((visitor.cookie(csrf.COOKIE) or "").encode()).digest()
    request = AuthorizationRequest(
        client_id="cli_any", redirect_uri="https://client.example.test/cb", acr=acr
    )
    flow = new_id()
    async with db.transaction(CAISSE) as tx:
        await open_flow(tx, flow, browser, request, now, now + timedelta(minutes=30))
    return str(flow)


async def secrets_shown(db: Database, email: str) -> int:
    async with db.transaction(CAISSE) as tx:
        return await tx.fetchval(
            """
            SELECT (SELECT count(*) FROM totp_proposal JOIN person ON id = person_id WHERE email_key = $1)
                 + (SELECT count(*) FROM totp_factor JOIN person ON id = person_id WHERE email_key = $1)
            """,
            email,
        )


async def test_guesses_of_the_second_step_are_counted_over_every_password(
    app: Litestar, identity_db: Database, clock: HeldClock, post: Post
) -> None:
    secret = await enrolled(app, identity_db, clock, post, "guessed@cabinet.fr")
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
    app: Litestar, identity_db: Database, clock: HeldClock, post: Post
) -> None:
    secret = await enrolled(app, identity_db, clock, post, "owner@cabinet.fr")
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
            "INSERT INTO totp_factor (person_id, secret_encrypted, created_at, confirmed_at, mailbox_proven_at)"
            " SELECT id, 'x', $1, $1, $1 FROM person WHERE email = 'strong@exemple.fr'"
            " ON CONFLICT (person_id) DO UPDATE SET confirmed_at = $1",
            clock(),
        )
    removed = await thief.post(f"{FACTOR}/remove", password=GOOD_PASSWORD)
    assert removed.status_code == 303 and "/step-up" in removed.headers["location"]


@pytest.mark.parametrize("path", ["sign-in", "step-up", "account", "first-connection"])
async def test_a_doubled_slash_never_leads_away(app: Litestar, path: str) -> None:
    answer = await Visitor(app).http.get(f"https://id.example.test//evil.example/{path}")
    assert "evil.example" not in answer.headers.get("location", "")

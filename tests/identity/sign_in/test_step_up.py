"""Before an act that matters: the password again and a second step, then a few minutes."""

from litestar import Litestar

from libs.common.database.pool import Database
from tests.conftest import HeldClock
from tests.identity.sign_in.test_sign_in import SESSION, enrolled, value_at
from tests.identity.sign_in.visitors import (
    CAISSE,
    GOOD_PASSWORD,
    Post,
    Visitor,
    a_person,
    mailed_code,
    sign_in,
    told,
)

STEP_UP = f"/{CAISSE}/step-up"
FACTOR = f"/{CAISSE}/account/factor"


async def session_row(db: Database, email: str) -> tuple[str, list[str]]:
    async with db.transaction(CAISSE) as tx:
        row = await tx.fetchrow(
            "SELECT acr, amr FROM session JOIN person ON person.id = person_id"
            " WHERE email_key = $1 AND revoked_at IS NULL ORDER BY session.created_at DESC",
            email,
        )
    assert row is not None
    return row[0], row[1]


async def test_without_an_application_a_mailed_code_is_the_second_step(
    visitor: Visitor, identity_db: Database, clock: HeldClock, post: Post
) -> None:
    await a_person(identity_db, clock, "step@exemple.fr")
    await sign_in(visitor, "step@exemple.fr")
    asked = await visitor.get(FACTOR)
    assert "/step-up?continue=" in asked.headers["location"]
    page = await visitor.follow(asked)
    assert "Confirmer que c’est vous" in told(page)
    before = visitor.cookie(SESSION)
    fields = {"password": GOOD_PASSWORD, "continue": FACTOR}
    await visitor.follow(await visitor.post(STEP_UP, **fields))
    wrong = await visitor.post(f"/{CAISSE}/sign-in/second-factor", code="1", **{"continue": FACTOR})
    # A mailed code does not change by itself: waiting for the next one would last for ever.
    assert "ou demandez-en un autre" in told(wrong) and "Attendez" not in told(wrong)
    code = await mailed_code(post, "step@exemple.fr")
    done = await visitor.post(f"/{CAISSE}/sign-in/second-factor", code=code, **{"continue": FACTOR})
    assert done.headers["location"] == f"https://id.example.test{FACTOR}"
    assert visitor.cookie(SESSION) != before
    assert await session_row(identity_db, "step@exemple.fr") == ("two_step", ["email", "pwd"])
    assert (await visitor.get(FACTOR)).status_code == 200

    clock.forward(minutes=5)
    assert (await visitor.get(FACTOR)).status_code == 303


async def test_the_former_cookie_opens_nothing_after_a_step_up(
    app: Litestar, visitor: Visitor, identity_db: Database, clock: HeldClock, post: Post
) -> None:
    await a_person(identity_db, clock, "renew@exemple.fr")
    await sign_in(visitor, "renew@exemple.fr")
    before = visitor.cookie(SESSION) or ""
    await visitor.follow(await visitor.post(STEP_UP, password=GOOD_PASSWORD))
    code = await mailed_code(post, "renew@exemple.fr")
    await visitor.post(f"/{CAISSE}/sign-in/second-factor", code=code)
    thief = Visitor(app)
    thief.http.cookies.set(SESSION, before, domain="id.example.test")
    assert (await thief.get(f"/{CAISSE}/account")).status_code == 303


async def test_with_an_application_the_mail_does_not_do(
    app: Litestar, visitor: Visitor, identity_db: Database, clock: HeldClock, post: Post
) -> None:
    secret = await enrolled(app, identity_db, clock, post, "both@cabinet.fr")
    await visitor.follow(await sign_in(visitor, "both@cabinet.fr"))
    await visitor.post(f"/{CAISSE}/sign-in/second-factor", code=value_at(secret, clock))
    clock.forward(minutes=6)
    page = await visitor.follow(await visitor.post(STEP_UP, password=GOOD_PASSWORD))
    assert "application d’authentification" in told(page)
    await post.deliver()
    subjects = [one.subject for one in post.mailbox.newest("both@cabinet.fr")]
    # The one that came before the application.
    assert subjects.count("Votre code de vérification") == 1
    await visitor.post(f"/{CAISSE}/sign-in/second-factor", code=value_at(secret, clock))
    assert (await session_row(identity_db, "both@cabinet.fr"))[0] == "mfa"


async def test_a_step_up_begun_in_one_session_raises_no_other(
    app: Litestar, visitor: Visitor, identity_db: Database, clock: HeldClock, post: Post
) -> None:
    await a_person(identity_db, clock, "first@exemple.fr")
    await a_person(identity_db, clock, "second@exemple.fr")
    await sign_in(visitor, "first@exemple.fr")
    await visitor.post(STEP_UP, password=GOOD_PASSWORD)
    code = await mailed_code(post, "first@exemple.fr")
    other = Visitor(app)
    await sign_in(other, "second@exemple.fr")
    proof = visitor.cookie(f"{SESSION}-proof") or ""
    other.http.cookies.set(f"{SESSION}-proof", proof, domain="id.example.test")
    refused = await other.post(f"/{CAISSE}/sign-in/second-factor", code=code)
    assert "/sign-in" in refused.headers["location"]
    assert (await session_row(identity_db, "second@exemple.fr"))[0] == "pwd"


async def test_a_wrong_password_raises_nothing(
    visitor: Visitor, identity_db: Database, clock: HeldClock
) -> None:
    await a_person(identity_db, clock, "not@exemple.fr")
    await sign_in(visitor, "not@exemple.fr")
    answer = await visitor.post(STEP_UP, password="wrong wrong wrong")
    assert answer.status_code == 422
    assert (await session_row(identity_db, "not@exemple.fr"))[0] == "pwd"


async def test_a_mailed_code_works_once_and_dies_in_ten_minutes(
    visitor: Visitor, identity_db: Database, clock: HeldClock, post: Post
) -> None:
    await a_person(identity_db, clock, "ten@exemple.fr")
    await sign_in(visitor, "ten@exemple.fr")
    await visitor.follow(await visitor.post(STEP_UP, password=GOOD_PASSWORD))
    code = await mailed_code(post, "ten@exemple.fr")
    clock.forward(minutes=10)
    assert (await visitor.post(f"/{CAISSE}/sign-in/second-factor", code=code)).status_code == 422
    await visitor.follow(await visitor.post(f"/{CAISSE}/sign-in/second-factor/resend"))
    newer = await mailed_code(post, "ten@exemple.fr")
    assert (await visitor.post(f"/{CAISSE}/sign-in/second-factor", code=newer)).status_code == 303

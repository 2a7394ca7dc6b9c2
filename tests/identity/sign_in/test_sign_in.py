"""Signing in: one answer for every failure, one state machine behind every page."""

import asyncio
import re
from uuid import UUID

import pytest
from litestar import Litestar
from litestar.routes import HTTPRoute
from pyotp.totp import TOTP

from libs.common.database.pool import Database
from libs.common.runtime.settings import Settings
from libs.common.values.identifiers import public_id
from services.identity.app import create_app
from services.identity.sign_in import session_store
from services.identity.sign_in.refused import LONGEST_AFTER
from services.identity.sign_in.session import end_session, open_session, sought
from tests.conftest import HeldClock
from tests.identity.sign_in.visitors import (
    CAISSE,
    GOOD_PASSWORD,
    OTHER_CAISSE,
    Post,
    Visitor,
    a_person,
    mailed_code,
    sign_in,
    title,
    told,
)

SESSION = f"__Host-espace-{CAISSE}"
SECOND = f"/{CAISSE}/sign-in/second-factor"


async def test_the_page_shows_the_banner_of_the_first_connection(visitor: Visitor) -> None:
    page = await visitor.get(f"/{CAISSE}/sign-in")
    assert page.status_code == 200
    assert "Première connexion" in told(page)
    assert f'href="/{CAISSE}/first-connection"' in page.text


async def test_a_right_password_opens_a_session(
    visitor: Visitor, identity_db: Database, clock: HeldClock
) -> None:
    await a_person(identity_db, clock, "rose@exemple.fr")
    answer = await sign_in(visitor, "ROSE@exemple.fr")
    assert answer.status_code == 303
    assert answer.headers["location"] == f"https://portal.example.test/{CAISSE}"
    cookies = [line for line in answer.headers.get_list("set-cookie") if line.startswith(SESSION + "=")]
    assert len(cookies) == 1
    for attribute in ("Secure", "HttpOnly", "SameSite=lax", "Path=/"):
        assert attribute in cookies[0]
    assert "Domain" not in cookies[0]


async def test_unknown_wrong_and_suspended_have_one_answer(
    visitor: Visitor, identity_db: Database, clock: HeldClock
) -> None:
    await a_person(identity_db, clock, "known@exemple.fr")
    suspended = await a_person(identity_db, clock, "stopped@exemple.fr")
    async with identity_db.transaction(CAISSE) as tx:
        await tx.execute("UPDATE person SET state = 'suspended' WHERE id = $1", suspended)
    bodies: set[str] = set()
    for email, password in (
        ("known@exemple.fr", "wrong wrong wrong"),
        ("nobody@exemple.fr", GOOD_PASSWORD),
        ("stopped@exemple.fr", GOOD_PASSWORD),
    ):
        answer = await sign_in(visitor, email, password)
        assert answer.status_code == 422
        assert title(answer).startswith("Erreur\u00a0:")
        bodies.add(answer.text.replace(email, "…"))
    assert len(bodies) == 1


async def sessions_of(db: Database, person_id: UUID) -> list[tuple[UUID, str, bool]]:
    """Id, level, and whether it is over."""
    async with db.transaction(CAISSE) as tx:
        rows = await tx.fetch(
            "SELECT id, acr, revoked_at IS NOT NULL FROM session WHERE person_id = $1 ORDER BY id", person_id
        )
    return [tuple(row) for row in rows]


async def test_who_signs_in_over_their_own_session_goes_on_in_it(
    visitor: Visitor, identity_db: Database, clock: HeldClock
) -> None:
    """Three tabs, three passwords: what the first two live by is not taken from them."""
    person = await a_person(identity_db, clock, "tabs@exemple.fr")
    await sign_in(visitor, "tabs@exemple.fr")
    first = await sessions_of(identity_db, person)
    async with identity_db.transaction(CAISSE) as tx:
        await tx.execute("UPDATE session SET acr = 'mfa', amr = '{otp,pwd}' WHERE person_id = $1", person)
    clock.forward(hours=11)
    async with identity_db.transaction(CAISSE) as tx:
        await tx.execute("UPDATE session SET last_seen_at = $2 WHERE person_id = $1", person, clock())
    assert (await sign_in(visitor, "tabs@exemple.fr")).status_code == 303
    # What is proven now, no more; and a whole day of it.
    assert await sessions_of(identity_db, person) == first == [(first[0][0], "pwd", False)]
    clock.forward(minutes=90)
    assert (await visitor.get(f"/{CAISSE}/account")).status_code == 200


async def test_a_session_ended_while_its_person_signs_in_over_it_stays_ended(
    identity_db: Database, clock: HeldClock, visitor: Visitor
) -> None:
    person = await a_person(identity_db, clock, "ended@exemple.fr")
    await sign_in(visitor, "ended@exemple.fr")
    async with identity_db.transaction(CAISSE) as tx:
        held = await session_store.find(tx, *sought(visitor.cookie(SESSION) or "", clock()))
        assert held is not None
        assert await end_session(tx, held.id, now=clock())
        again = await open_session(tx, person_id=person, acr="pwd", amr=["pwd"], now=clock(), over=held)
    assert again.session.id != held.id
    assert {(one, over) for one, _, over in await sessions_of(identity_db, person)} == {
        (held.id, True), (again.session.id, False),
    }  # fmt: skip


async def test_a_planted_session_cookie_is_not_the_one_kept(
    app: Litestar, identity_db: Database, clock: HeldClock
) -> None:
    await a_person(identity_db, clock, "victim@exemple.fr")
    victim = Visitor(app)
    victim.http.cookies.set(SESSION, "A" * 43, domain="id.example.test")
    await sign_in(victim, "victim@exemple.fr")
    assert victim.cookie(SESSION) != "A" * 43

    attacker = Visitor(app)
    attacker.http.cookies.set(SESSION, "A" * 43, domain="id.example.test")
    page = await attacker.get(f"/{CAISSE}/account")
    assert page.status_code == 303


async def test_signing_in_again_ends_the_former_session(
    visitor: Visitor, identity_db: Database, clock: HeldClock
) -> None:
    await a_person(identity_db, clock, "twice@exemple.fr")
    await sign_in(visitor, "twice@exemple.fr")
    former = visitor.cookie(SESSION)
    await visitor.post(f"/{CAISSE}/sign-in", email="twice@exemple.fr", password=GOOD_PASSWORD)
    assert visitor.cookie(SESSION) != former
    visitor.http.cookies.set(SESSION, former or "", domain="id.example.test")
    assert (await visitor.get(f"/{CAISSE}/account")).status_code == 303


async def test_a_session_of_one_caisse_opens_nothing_in_another(
    visitor: Visitor, identity_db: Database, clock: HeldClock
) -> None:
    await a_person(identity_db, clock, "here@exemple.fr")
    await sign_in(visitor, "here@exemple.fr")
    value = visitor.cookie(SESSION) or ""
    visitor.http.cookies.set(f"__Host-espace-{OTHER_CAISSE}", value, domain="id.example.test")
    assert (await visitor.get(f"/{OTHER_CAISSE}/account")).status_code == 303


async def test_signing_out_takes_a_button_and_ends_the_session(
    visitor: Visitor, identity_db: Database, clock: HeldClock
) -> None:
    await a_person(identity_db, clock, "leaves@exemple.fr")
    await sign_in(visitor, "leaves@exemple.fr")
    value = visitor.cookie(SESSION) or ""
    await visitor.get(f"/{CAISSE}/sign-out")
    assert (await visitor.get(f"/{CAISSE}/account")).status_code == 200
    await visitor.post(f"/{CAISSE}/sign-out")
    visitor.http.cookies.set(SESSION, value, domain="id.example.test")
    assert (await visitor.get(f"/{CAISSE}/account")).status_code == 303


async def test_an_idle_session_ends(visitor: Visitor, identity_db: Database, clock: HeldClock) -> None:
    await a_person(identity_db, clock, "idle@exemple.fr")
    await sign_in(visitor, "idle@exemple.fr")
    clock.forward(minutes=119)
    assert (await visitor.get(f"/{CAISSE}/account")).status_code == 200
    clock.forward(minutes=121)
    assert (await visitor.get(f"/{CAISSE}/account")).status_code == 303


async def test_a_page_asked_without_session_comes_back_after_the_sign_in(
    visitor: Visitor, identity_db: Database, clock: HeldClock
) -> None:
    await a_person(identity_db, clock, "back@exemple.fr")
    sent = await visitor.get(f"/{CAISSE}/account/me")
    page = await visitor.follow(sent)
    assert f'value="/{CAISSE}/account/me"' in page.text
    fields = {"email": "back@exemple.fr", "password": GOOD_PASSWORD, "continue": f"/{CAISSE}/account/me"}
    answer = await visitor.post(f"/{CAISSE}/sign-in", **fields)
    assert answer.headers["location"] == f"https://id.example.test/{CAISSE}/account/me"


def addresses_of_forms(app: Litestar) -> list[str]:
    """Where a form is posted by somebody signed in; what they name is nobody's."""
    return sorted(
        re.sub("{[^/]+}", "nobody_s", route.path.replace("{slug:str}", CAISSE))
        for route in app.routes
        if isinstance(route, HTTPRoute)
        and any(
            "POST" in handler.http_methods and handler.opt.get("access") == "session"
            for handler in route.route_handlers
        )
    )


async def test_a_form_sent_too_late_is_not_lost_in_silence_and_leads_back_to_a_page(
    app: Litestar, visitor: Visitor, identity_db: Database, clock: HeldClock
) -> None:
    """Nothing was done and the sign-in page says so; what comes after it is a page, though some addresses show none."""
    await a_person(identity_db, clock, "late@exemple.fr")
    ways: list[str] = []
    for address in addresses_of_forms(app):
        page = await visitor.follow(await visitor.post(address))
        assert title(page).startswith("Erreur")
        assert "ce que vous venez d’envoyer n’a pas été enregistré" in told(page)
        ways.append(page.text.partition('name="continue" value="')[2].partition('"')[0])
    assert f"/{CAISSE}/account/name" in ways and f"/{CAISSE}/account" in ways
    await sign_in(visitor, "late@exemple.fr")
    for way in ways:
        page = await visitor.get(way)
        # This person has no firm, no cabinet, no link: pages of those refuse them, and are pages all the same.
        assert page.status_code in (200, 303, 403, 404, 410), way
        assert page.status_code < 400 or not way.startswith(f"/{CAISSE}/account"), way


async def test_a_form_that_asks_for_a_step_up_is_said_to_be_undone(
    visitor: Visitor, identity_db: Database, clock: HeldClock
) -> None:
    await a_person(identity_db, clock, "undone@exemple.fr")
    await sign_in(visitor, "undone@exemple.fr")
    shown = await visitor.follow(await visitor.get(f"/{CAISSE}/account/factor"))
    assert "Rien n’est encore fait" not in told(shown)
    sent = await visitor.follow(await visitor.post(f"/{CAISSE}/account/factor", code="000000"))
    assert "Rien n’est encore fait" in told(sent)


@pytest.mark.parametrize(
    "path",
    [
        "https://evil.test/",
        "//evil.test/mediterranee/",
        "/mediterranee/../evil",
        "/mediterranee//evil.test",
        "/grand-ouest/account",
        "/mediterranee/\\evil.test",
        "javascript:alert(1)",
        "/mediterranee/a\r\nSet-Cookie: x=1",
        "/mediterranee@evil.test/x",
    ],
)
async def test_a_forged_destination_leads_home(
    visitor: Visitor, identity_db: Database, clock: HeldClock, path: str
) -> None:
    email = f"forged{abs(hash(path))}@exemple.fr"
    await a_person(identity_db, clock, email)
    answer = await sign_in(visitor, email, **{"continue": path})
    assert answer.headers["location"] == f"https://portal.example.test/{CAISSE}"


async def test_a_form_without_our_token_is_refused(visitor: Visitor) -> None:
    await visitor.get(f"/{CAISSE}/sign-in")
    visitor.token = "forged"
    answer = await visitor.http.post(
        f"/{CAISSE}/sign-in", data={"csrf_token": "forged", "email": "a@b.fr", "password": "x"}
    )
    assert answer.status_code == 403


async def test_a_form_from_another_site_is_refused(visitor: Visitor) -> None:
    await visitor.get(f"/{CAISSE}/sign-in")
    answer = await visitor.http.post(
        f"/{CAISSE}/sign-in",
        data={"csrf_token": visitor.token, "email": "a@b.fr", "password": "x"},
        headers={"sec-fetch-site": "cross-site"},
    )
    assert answer.status_code == 403


async def test_strangers_wait_together_and_the_known_device_does_not(
    app: Litestar, identity_db: Database, clock: HeldClock
) -> None:
    await a_person(identity_db, clock, "owner@exemple.fr")
    owner = Visitor(app)
    await sign_in(owner, "owner@exemple.fr")
    await owner.get(f"/{CAISSE}/sign-out")
    await owner.post(f"/{CAISSE}/sign-out")

    stranger = Visitor(app, address="198.51.100.7")
    answers = [await sign_in(stranger, "owner@exemple.fr", f"guess number {n}") for n in range(12)]
    assert answers[-1].status_code == 429
    assert "n’est pas bloqué" in told(answers[-1])
    assert (await sign_in(owner, "owner@exemple.fr")).status_code == 303

    clock.forward(minutes=2)
    assert (await sign_in(stranger, "owner@exemple.fr")).status_code == 303


async def test_throttling_tells_nothing_of_who_exists(app: Litestar) -> None:
    stranger = Visitor(app, address="198.51.100.8")
    answers = [await sign_in(stranger, "nobody-at-all@exemple.fr", "some guess") for _ in range(11)]
    assert [answer.status_code for answer in answers] == [422] * 10 + [429]


async def test_a_cabinet_user_enrols_an_application_once_the_mailbox_is_proven(
    visitor: Visitor, identity_db: Database, clock: HeldClock, post: Post
) -> None:
    await a_person(identity_db, clock, "collab@cabinet.fr", collaborator=True)
    page = await visitor.follow(await sign_in(visitor, "collab@cabinet.fr"))
    assert "otpauth:" not in page.text
    code = await mailed_code(post, "collab@cabinet.fr")
    page = await visitor.follow(await visitor.post(SECOND, code=code))
    assert "Protéger votre compte" in told(page)
    assert "otpauth:" in page.text
    assert visitor.cookie(SESSION) is None
    assert (await visitor.get(f"/{CAISSE}/account")).status_code == 303

    # A quarter of an hour from the mailed code, not from the password: time to install the application.
    clock.forward(minutes=14)
    secret = secret_shown(page.text)
    assert secret_shown((await visitor.get(SECOND)).text) == secret
    codes = await visitor.post(SECOND, code=value_at(secret, clock))
    assert codes.status_code == 200
    assert codes.text.count('<code class="code"') == 8
    assert (await visitor.get(f"/{CAISSE}/account")).status_code == 200


async def test_a_value_of_the_application_works_once_even_in_parallel(
    app: Litestar, identity_db: Database, clock: HeldClock, post: Post
) -> None:
    secret = await enrolled(app, identity_db, clock, post, "otp@cabinet.fr")
    browsers = [Visitor(app, address=f"192.0.2.{n}") for n in range(5)]
    for browser in browsers:
        await browser.follow(await sign_in(browser, "otp@cabinet.fr"))
    value = value_at(secret, clock)
    answers = await asyncio.gather(
        *(browser.post(f"/{CAISSE}/sign-in/second-factor", code=value) for browser in browsers)
    )
    assert sorted(answer.status_code for answer in answers) == [303, 422, 422, 422, 422]


async def test_five_wrong_values_ask_the_password_again(
    app: Litestar, identity_db: Database, clock: HeldClock, post: Post
) -> None:
    secret = await enrolled(app, identity_db, clock, post, "guess@cabinet.fr")
    browser = Visitor(app)
    await browser.follow(await sign_in(browser, "guess@cabinet.fr"))
    right = value_at(secret, clock)
    wrong = "000000" if right != "000000" else "111111"
    tries = [browser.post(f"/{CAISSE}/sign-in/second-factor", code=wrong) for _ in range(20)]
    statuses = [answer.status_code for answer in await asyncio.gather(*tries)]
    assert set(statuses) <= {422, 303}
    answer = await browser.post(f"/{CAISSE}/sign-in/second-factor", code=right)
    assert answer.headers["location"].startswith(f"https://id.example.test/{CAISSE}/sign-in")
    assert browser.cookie(SESSION) is None
    assert "Il y a eu trop d’essais" in told(await browser.follow(answer))


async def test_a_recovery_code_replaces_the_telephone_once(
    app: Litestar, identity_db: Database, clock: HeldClock, post: Post
) -> None:
    codes: list[str] = []
    await enrolled(app, identity_db, clock, post, "lost@cabinet.fr", codes)
    for status in (303, 422):
        browser = Visitor(app)
        await browser.follow(await sign_in(browser, "lost@cabinet.fr"))
        answer = await browser.post(f"/{CAISSE}/sign-in/second-factor", code=codes[0].lower())
        assert answer.status_code == status
    # Of a code on paper there is no next one to wait for.
    wrong = await browser.post(f"/{CAISSE}/sign-in/second-factor", code=codes[0], recovery="yes")
    assert "Vérifiez-le, ou tapez-en un autre." in told(wrong) and "Attendez" not in told(wrong)


async def test_a_new_device_is_told_by_mail_the_first_is_not(
    app: Litestar, identity_db: Database, clock: HeldClock, post: Post
) -> None:
    await a_person(identity_db, clock, "devices@exemple.fr")
    await sign_in(Visitor(app), "devices@exemple.fr")
    await post.deliver()
    assert post.mailbox.newest("devices@exemple.fr") == []
    await sign_in(Visitor(app), "devices@exemple.fr")
    assert "Nouvelle connexion" in (await post.newest("devices@exemple.fr")).subject


def secret_shown(page: str) -> str:
    found = page.partition('<code class="code"')[2].partition(">")[2].partition("<")[0]
    return "".join(found.split())


def value_at(secret: str, clock: HeldClock) -> str:
    return TOTP(secret).at(clock())


async def at_the_enrolment(browser: Visitor, post: Post, email: str) -> str:
    """A collaborator without an application: password, mailed code, then the secret that the page shows."""
    await sign_in(browser, email)
    page = await browser.follow(await browser.post(SECOND, code=await mailed_code(post, email)))
    return secret_shown(page.text)


async def enrolled(
    app: Litestar, db: Database, clock: HeldClock, post: Post, email: str, codes: list[str] | None = None
) -> str:
    """Somebody of a cabinet with an application, whose next value is fresh; the secret."""
    await a_person(db, clock, email, collaborator=True)
    browser = Visitor(app)
    secret = await at_the_enrolment(browser, post, email)
    shown = await browser.post(SECOND, code=value_at(secret, clock))
    assert shown.status_code == 200, told(shown)
    if codes is not None:
        codes += [
            "".join(part.partition("<")[0].split()) for part in shown.text.split('<code class="code">')[1:]
        ]
    clock.forward(seconds=60)
    return secret


async def test_a_refused_password_is_told_once_a_minute_and_names_no_actor(
    visitor: Visitor, identity_db: Database, clock: HeldClock
) -> None:
    """After the answer, whose time must not tell whether the address is somebody's."""
    somebody = public_id("per", await a_person(identity_db, clock, "guessed@exemple.fr"))

    async def told_of(email: str) -> list[tuple[str, object]]:
        await visitor.get(f"/{CAISSE}/sign-in")
        await visitor.post(f"/{CAISSE}/sign-in", email=email, password="wrong wrong wrong")
        await asyncio.sleep(LONGEST_AFTER + 1)
        async with identity_db.transaction(CAISSE) as tx:
            rows = await tx.fetch(
                "SELECT subject_id, person_id FROM journal WHERE action = 'sign_in.refused'"
            )
        return [(row["subject_id"], row["person_id"]) for row in rows if row["subject_id"] == somebody]

    assert await told_of("guessed@exemple.fr") == [(somebody, None)]
    assert await told_of("guessed@exemple.fr") == [(somebody, None)]
    clock.forward(minutes=1)
    assert await told_of("guessed@exemple.fr") == [(somebody, None)] * 2
    before = await _refused(identity_db)
    await told_of("nobody-at-all@exemple.fr")
    assert await _refused(identity_db) == before


@pytest.mark.usefixtures("app")
async def test_a_process_that_is_stopped_writes_the_lines_it_owes(
    settings: Settings, identity_db: Database, clock: HeldClock
) -> None:
    await a_person(identity_db, clock, "guessed-last@exemple.fr")
    before = await _refused(identity_db)
    app = create_app(settings, clock=clock)
    async with app.lifespan():
        await sign_in(Visitor(app), "guessed-last@exemple.fr", "wrong wrong wrong")
    assert await _refused(identity_db) == before + 1


async def _refused(db: Database) -> int:
    async with db.transaction(CAISSE) as tx:
        return await tx.fetchval("SELECT count(*) FROM journal WHERE action = 'sign_in.refused'")

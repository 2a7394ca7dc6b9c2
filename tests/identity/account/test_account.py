"""The account console: what one sees of oneself, and what one changes."""

import re

import pytest
from litestar import Litestar

from libs.common.database.pool import Database
from tests.conftest import HeldClock
from tests.identity.account.test_consents import buttons, plain
from tests.identity.sign_in.test_sign_in import SESSION, enrolled, secret_shown, value_at
from tests.identity.sign_in.test_step_up import FACTOR, STEP_UP
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

ME = f"/{CAISSE}/account/me"
OTHER_PASSWORD = "cigogne parapluie betterave quai"


async def test_the_landing_page_leads_to_the_account_and_to_the_rights(
    visitor: Visitor, identity_db: Database, clock: HeldClock
) -> None:
    await a_person(identity_db, clock, "land@exemple.fr")
    await sign_in(visitor, "land@exemple.fr")
    page = await visitor.get(f"/{CAISSE}/account")
    assert "Gérer mon compte utilisateur et les droits d’accès" in told(page)
    assert f'href="/{CAISSE}/delegations"' in page.text
    assert f'href="/{CAISSE}/account/me"' in page.text
    assert "espace du cabinet" not in told(page)


@pytest.mark.parametrize("path", ["account", "account/me", "account/password", "account/name", "sign-in"])
async def test_every_page_of_ones_own_says_whose_it_is_and_ends_the_session(
    visitor: Visitor, identity_db: Database, clock: HeldClock, path: str
) -> None:
    email = f"{path.replace('/', '-')}@exemple.fr"
    await a_person(identity_db, clock, email, name="Zoé d’Arc")
    await sign_in(visitor, email)
    page = await visitor.get(f"/{CAISSE}/{path}")
    if path == "sign-in":
        assert "Zoé" not in page.text
        return
    assert '<p id="who">Zoé d’Arc</p>' in page.text
    assert page.text.count('id="sign-out"') == 1
    assert "Vous êtes déconnecté" in told(await visitor.post(f"/{CAISSE}/sign-out"))
    assert (await visitor.get(f"/{CAISSE}/account")).status_code == 303


async def test_a_name_is_kept_as_people_write_it(
    visitor: Visitor, identity_db: Database, clock: HeldClock
) -> None:
    await a_person(identity_db, clock, "name@exemple.fr")
    await sign_in(visitor, "name@exemple.fr")
    name = "Zoé d’Arc-Œuvrard <script> 🧱"
    page = await visitor.follow(await visitor.post(f"/{CAISSE}/account/name", name=name))
    assert name in told(page)
    assert "<script>" not in page.text
    assert (await visitor.post(f"/{CAISSE}/account/name", name="x" * 81)).status_code == 422


async def test_another_password_signs_every_other_browser_out(
    app: Litestar, visitor: Visitor, identity_db: Database, clock: HeldClock
) -> None:
    await a_person(identity_db, clock, "change@exemple.fr")
    elsewhere = Visitor(app)
    await sign_in(elsewhere, "change@exemple.fr")
    await sign_in(visitor, "change@exemple.fr")
    clock.forward(seconds=1)
    before = visitor.cookie(SESSION)
    path = f"/{CAISSE}/account/password"
    assert (
        await visitor.post(path, password="wrong wrong wrong", new_password=OTHER_PASSWORD)
    ).status_code == 422
    assert (await visitor.post(path, password=GOOD_PASSWORD, new_password="court")).status_code == 422
    changed = await visitor.post(path, password=GOOD_PASSWORD, new_password=OTHER_PASSWORD)
    assert changed.status_code == 303
    assert visitor.cookie(SESSION) != before
    assert (await visitor.get(ME)).status_code == 200
    assert (await elsewhere.get(ME)).status_code == 303
    assert (await sign_in(elsewhere, "change@exemple.fr", OTHER_PASSWORD)).status_code == 303


async def test_one_ends_another_connection_of_ones_own_and_nobody_elses(
    app: Litestar, visitor: Visitor, identity_db: Database, clock: HeldClock
) -> None:
    await a_person(identity_db, clock, "own@exemple.fr")
    await a_person(identity_db, clock, "else@exemple.fr")
    elsewhere, stranger = Visitor(app), Visitor(app)
    await sign_in(elsewhere, "own@exemple.fr")
    await sign_in(stranger, "else@exemple.fr")
    await sign_in(visitor, "own@exemple.fr")
    page = await visitor.get(ME)
    theirs = (await stranger.get(ME)).text
    assert 'name="session"' not in theirs
    mine = page.text.partition('name="session" value="')[2].partition('"')[0]
    async with identity_db.transaction(CAISSE) as tx:
        foreign = await tx.fetchval(
            "SELECT session.id FROM session JOIN person ON person.id = person_id WHERE email_key = 'else@exemple.fr'"
        )
    ending = f"/{CAISSE}/account/sessions/end"
    assert (await visitor.post(ending, session=str(foreign))).status_code == 404
    assert (await stranger.get(ME)).status_code == 200
    assert (await visitor.post(ending, session=mine)).status_code == 303
    assert (await elsewhere.get(ME)).status_code == 303
    assert (await visitor.get(ME)).status_code == 200


async def test_two_browsers_of_one_minute_are_told_apart(
    app: Litestar, visitor: Visitor, identity_db: Database, clock: HeldClock
) -> None:
    await a_person(identity_db, clock, "twins@exemple.fr")
    others = [Visitor(app), Visitor(app, agent="Mozilla/5.0 (Windows NT 10.0) Firefox/130.0"), Visitor(app)]
    for browser in (*others, visitor):
        await sign_in(browser, "twins@exemple.fr")
    page = await visitor.get(ME)
    names = buttons(page.text)
    ending = [name for name in names if name.startswith("Déconnecter – ")]
    forgetting = [name for name in names if name.startswith("Oublier – ")]
    assert len(set(ending)) == len(ending) == 3
    assert len(set(forgetting)) == len(forgetting) == 4
    assert [name for name in ending if "Firefox" in name and "n°" not in name]
    # The number says which, oldest first; each line shows the name that its button bears.
    for name in ending:
        assert name.removeprefix("Déconnecter – ") in told(page)
    ids = re.findall('name="session" value="([^"]+)"', page.text)
    oldest = next(at for at, name in enumerate(ending) if "(n° 1)" in plain(name))
    await visitor.post(f"/{CAISSE}/account/sessions/end", session=ids[oldest])
    alive = [(await browser.get(ME)).status_code for browser in others]
    assert alive == [303, 200, 200]


async def test_a_forgotten_device_is_a_stranger_again(
    visitor: Visitor, identity_db: Database, clock: HeldClock
) -> None:
    await a_person(identity_db, clock, "forget@exemple.fr")
    await sign_in(visitor, "forget@exemple.fr")
    page = await visitor.get(ME)
    device = page.text.partition('name="device" value="')[2].partition('"')[0]
    assert "Chrome, Linux" in told(page)
    await visitor.post(f"/{CAISSE}/account/devices/forget", device=device)
    assert 'name="device"' not in (await visitor.get(ME)).text


async def stepped_up(visitor: Visitor, post: Post, email: str) -> None:
    await visitor.follow(await visitor.post(STEP_UP, password=GOOD_PASSWORD))
    code = await mailed_code(post, email)
    await visitor.post(f"/{CAISSE}/sign-in/second-factor", code=code)


async def test_an_adherent_adds_an_application_then_removes_it(
    visitor: Visitor, identity_db: Database, clock: HeldClock, post: Post
) -> None:
    await a_person(identity_db, clock, "factor@exemple.fr")
    await sign_in(visitor, "factor@exemple.fr")
    assert (await visitor.post(FACTOR, code="000000")).status_code == 303
    await stepped_up(visitor, post, "factor@exemple.fr")
    page = await visitor.get(FACTOR)
    secret = secret_shown(page.text)
    assert secret_shown((await visitor.get(FACTOR)).text) == secret
    assert (await visitor.post(FACTOR, code="12")).status_code == 422
    codes = await visitor.post(FACTOR, code=value_at(secret, clock))
    assert "Vos codes de secours" in told(codes)
    # The page of the codes, loaded again: the application is there, and its value is not called wrong.
    again = await visitor.follow(await visitor.post(FACTOR, code=value_at(secret, clock)))
    assert "Active" in told(again) and "Ce code n’est pas le bon" not in told(again)

    fresh = await visitor.get(FACTOR)
    assert "Retirer l’application" in told(fresh)
    assert (await visitor.post(f"{FACTOR}/remove", password="wrong wrong wrong")).status_code == 422
    assert (await visitor.post(f"{FACTOR}/remove", password=GOOD_PASSWORD)).status_code == 303
    await post.deliver()
    subjects = [one.subject for one in post.mailbox.newest("factor@exemple.fr")]
    assert "Votre compte n’est plus protégé par une application" in subjects


async def test_removing_the_factor_needs_a_fresh_second_step(
    visitor: Visitor, identity_db: Database, clock: HeldClock, post: Post
) -> None:
    await a_person(identity_db, clock, "old@exemple.fr")
    await sign_in(visitor, "old@exemple.fr")
    await stepped_up(visitor, post, "old@exemple.fr")
    secret = secret_shown((await visitor.get(FACTOR)).text)
    await visitor.post(FACTOR, code=value_at(secret, clock))
    clock.forward(minutes=6)
    refused = await visitor.post(f"{FACTOR}/remove", password=GOOD_PASSWORD)
    assert "/step-up" in refused.headers["location"]
    assert "Active" in told(await visitor.get(ME))


async def test_people_of_a_cabinet_keep_theirs(
    app: Litestar, visitor: Visitor, identity_db: Database, clock: HeldClock, post: Post
) -> None:
    secret = await enrolled(app, identity_db, clock, post, "must@cabinet.fr")
    await visitor.follow(await sign_in(visitor, "must@cabinet.fr"))
    await visitor.post(f"/{CAISSE}/sign-in/second-factor", code=value_at(secret, clock))
    assert "obligatoire" in told(await visitor.get(FACTOR))
    assert (await visitor.post(f"{FACTOR}/remove", password=GOOD_PASSWORD)).status_code == 403

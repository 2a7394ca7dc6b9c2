"""A forgotten password: the mailed secret alone changes it, once, and signs nobody in."""

import asyncio
import base64
from datetime import timedelta

from litestar import Litestar
from pyotp import random_base32

from libs.common.database.pool import Database
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.values.caisse_slug import parse_caisse_slug
from libs.common.values.identifiers import public_id
from services.identity.sign_in import store as people
from services.identity.sign_in.session import open_session
from services.identity.sign_in.totp import PURPOSE
from tests.conftest import HeldClock
from tests.identity.sign_in.test_sign_in import SECOND, SESSION, at_the_enrolment, enrolled, value_at
from tests.identity.sign_in.visitors import (
    CAISSE,
    GOOD_PASSWORD,
    OTHER_CAISSE,
    Post,
    Visitor,
    a_person,
    link_in,
    mailed_code,
    sign_in,
    told,
)

ASK = f"/{CAISSE}/forgotten-password"
SET = f"/{CAISSE}/new-password"
OTHER_PASSWORD = "cigogne parapluie betterave quai"


async def ask(visitor: Visitor, email: str) -> str:
    await visitor.get(ASK)
    answer = await visitor.post(ASK, email=email)
    assert answer.status_code == 200
    return answer.text


async def mailed(visitor: Visitor, email: str, post: Post) -> str:
    await ask(visitor, email)
    return link_in(await post.newest(email), "/new-password?link=").partition("link=")[2]


async def test_the_link_changes_the_password_and_signs_nobody_in(
    app: Litestar, visitor: Visitor, identity_db: Database, clock: HeldClock, post: Post
) -> None:
    await a_person(identity_db, clock, "lost@exemple.fr")
    elsewhere = Visitor(app)
    await sign_in(elsewhere, "lost@exemple.fr")
    clock.forward(seconds=1)
    link = await mailed(visitor, "lost@exemple.fr", post)
    assert "lost@exemple.fr" in told(await visitor.get(f"{SET}?link={link}"))

    changed = await visitor.post(SET, link=link, new_password=OTHER_PASSWORD)
    assert changed.status_code == 200
    # The device is known from then on, but nobody is signed in.
    kept = [line.partition("=")[0] for line in changed.headers.get_list("set-cookie")]
    assert kept == [f"__Host-espace-{CAISSE}-device"]
    assert (await visitor.get(f"/{CAISSE}/account")).status_code == 303
    assert (await elsewhere.get(f"/{CAISSE}/account")).status_code == 303
    assert (await sign_in(visitor, "lost@exemple.fr", GOOD_PASSWORD)).status_code == 422
    assert (await sign_in(visitor, "lost@exemple.fr", OTHER_PASSWORD)).status_code == 303
    await post.deliver()
    assert "Votre mot de passe a changé" in {one.subject for one in post.mailbox.newest("lost@exemple.fr")}


async def test_sessions_of_every_caisse_end_with_the_password(
    app: Litestar, visitor: Visitor, identity_db: Database, clock: HeldClock, post: Post
) -> None:
    person_id = await a_person(identity_db, clock, "everywhere@exemple.fr")
    elsewhere = Visitor(app)
    await elsewhere.get(f"/{OTHER_CAISSE}/sign-in")
    await elsewhere.post(f"/{OTHER_CAISSE}/sign-in", email="everywhere@exemple.fr", password=GOOD_PASSWORD)
    assert (await elsewhere.get(f"/{OTHER_CAISSE}/account")).status_code == 200
    clock.forward(seconds=1)
    link = await mailed(visitor, "everywhere@exemple.fr", post)
    await visitor.post(SET, link=link, new_password=OTHER_PASSWORD)
    assert (await elsewhere.get(f"/{OTHER_CAISSE}/account")).status_code == 303
    async with identity_db.transaction(parse_caisse_slug(CAISSE)) as tx:
        told_services = await tx.fetchval(
            """
            SELECT count(*) FROM outbox
             WHERE subject LIKE '%.authz.%'
               AND convert_from(body, 'UTF8') LIKE '%"kind":"actor"%'
               AND convert_from(body, 'UTF8') LIKE '%' || $1 || '%'
            """,
            public_id("per", person_id),
        )
    # Twice when the commit ended in another second (decision 0120).
    assert told_services in (1, 2)


async def test_known_and_unknown_addresses_have_one_page(
    visitor: Visitor, identity_db: Database, clock: HeldClock, post: Post
) -> None:
    await a_person(identity_db, clock, "is@exemple.fr")
    known = (await ask(visitor, "is@exemple.fr")).replace("is@", "…@")
    unknown = (await ask(visitor, "isnot@exemple.fr")).replace("isnot@", "…@")
    assert known == unknown
    await post.deliver()
    assert post.mailbox.newest("isnot@exemple.fr") == []


async def test_a_thousand_asks_send_five_mails_at_most(
    app: Litestar, identity_db: Database, clock: HeldClock, post: Post
) -> None:
    await a_person(identity_db, clock, "bombed@exemple.fr")
    attackers = [Visitor(app) for _ in range(5)]
    for _ in range(20):
        await asyncio.gather(*(ask(attacker, "bombed@exemple.fr") for attacker in attackers))
        await post.deliver()
        clock.forward(seconds=61)
    assert len(post.mailbox.newest("bombed@exemple.fr")) == 5
    # The last link mailed still serves: the flood took nothing away.
    link = link_in(post.mailbox.newest("bombed@exemple.fr")[0], "link=").partition("link=")[2]
    assert (await attackers[0].get(f"{SET}?link={link}")).status_code == 200


async def test_a_link_serves_once_even_at_once(
    visitor: Visitor, identity_db: Database, clock: HeldClock, post: Post
) -> None:
    await a_person(identity_db, clock, "once@exemple.fr")
    link = await mailed(visitor, "once@exemple.fr", post)
    answers = await asyncio.gather(
        *(visitor.post(SET, link=link, new_password=OTHER_PASSWORD) for _ in range(4))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 410, 410, 410]


async def test_a_refused_choice_leaves_the_link_good(
    visitor: Visitor, identity_db: Database, clock: HeldClock, post: Post
) -> None:
    await a_person(identity_db, clock, "choice@exemple.fr")
    link = await mailed(visitor, "choice@exemple.fr", post)
    assert (await visitor.post(SET, link=link, new_password="court")).status_code == 422
    assert (await visitor.post(SET, link=link, new_password=OTHER_PASSWORD)).status_code == 200


async def test_a_late_link_serves_nothing(
    visitor: Visitor, identity_db: Database, clock: HeldClock, post: Post
) -> None:
    await a_person(identity_db, clock, "slow@exemple.fr")
    link = await mailed(visitor, "slow@exemple.fr", post)
    clock.forward(hours=1)
    assert (await visitor.get(f"{SET}?link={link}")).status_code == 410
    assert (await visitor.post(SET, link=link, new_password=OTHER_PASSWORD)).status_code == 410
    assert (await sign_in(visitor, "slow@exemple.fr")).status_code == 303


async def test_no_password_is_set_without_the_mailed_secret(
    visitor: Visitor, identity_db: Database, clock: HeldClock
) -> None:
    await a_person(identity_db, clock, "safe@exemple.fr")
    await ask(visitor, "safe@exemple.fr")
    for link in ("", "A" * 43, "../x"):
        assert (await visitor.post(SET, link=link, new_password=OTHER_PASSWORD)).status_code == 410
    assert (await sign_in(visitor, "safe@exemple.fr")).status_code == 303


async def test_a_hostile_host_reaches_no_mail(
    visitor: Visitor, identity_db: Database, clock: HeldClock, post: Post
) -> None:
    await a_person(identity_db, clock, "host@exemple.fr")
    await visitor.get(ASK)
    for header in ("host", "x-forwarded-host", "forwarded"):
        value = "host=evil.test" if header == "forwarded" else "evil.test"
        await visitor.http.post(
            ASK, data={"csrf_token": visitor.token, "email": "host@exemple.fr"}, headers={header: value}
        )
    await post.deliver()
    for message in post.mailbox.newest("host@exemple.fr"):
        assert "evil" not in message.text + message.html
        assert all(link.startswith("https://id.example.test/") for link in message.links)


async def planted(db: Database, keys: KeyEncryption, clock: HeldClock, email: str) -> str:
    """An application that somebody enrolled with the password alone, before that was refused; its secret."""
    secret = random_base32(32)
    async with db.transaction(CAISSE) as tx:
        person = await people.find_person(tx, email_key=email)
        assert person is not None
        sealed = keys.seal(PURPOSE, base64.b32decode(secret), context=person.id.bytes)
        await tx.execute(
            "INSERT INTO totp_factor (person_id, secret_encrypted, created_at, confirmed_at)"
            " VALUES ($1, $2, $3, $3)",
            person.id, sealed, clock(),
        )  # fmt: skip
    return secret


async def disavowal(post: Post, email: str) -> str:
    """The secret of the link in the notice of a new application."""
    await post.deliver()
    notice = next(one for one in post.mailbox.newest(email) if "application" in one.subject)
    return link_in(notice, "/new-password?link=").partition("link=")[2]


async def test_a_mailed_link_takes_no_genuine_application_away(
    app: Litestar, visitor: Visitor, identity_db: Database, clock: HeldClock, post: Post
) -> None:
    secret = await enrolled(app, identity_db, clock, post, "genuine@cabinet.fr")
    await post.deliver()
    clock.forward(hours=1)
    link = await mailed(visitor, "genuine@cabinet.fr", post)
    assert (await visitor.post(SET, link=link, new_password=OTHER_PASSWORD)).status_code == 200
    page = await visitor.follow(await sign_in(visitor, "genuine@cabinet.fr", OTHER_PASSWORD))
    assert "application d’authentification" in told(page)
    assert (await visitor.post(SECOND, code=value_at(secret, clock))).status_code == 303


async def test_a_mailed_link_takes_no_application_of_before_away_either(
    visitor: Visitor, identity_db: Database, keys: KeyEncryption, clock: HeldClock, post: Post
) -> None:
    """Whoever reads a mailbox that was never proven beside the application has gained nothing."""
    await a_person(identity_db, clock, "planted@exemple.fr")
    await planted(identity_db, keys, clock, "planted@exemple.fr")
    clock.forward(seconds=1)
    link = await mailed(visitor, "planted@exemple.fr", post)
    assert "sera retirée" not in told(await visitor.get(f"{SET}?link={link}"))
    assert (await visitor.post(SET, link=link, new_password=OTHER_PASSWORD)).status_code == 200
    page = await visitor.follow(await sign_in(visitor, "planted@exemple.fr", OTHER_PASSWORD))
    assert "application d’authentification" in told(page)


async def test_an_application_of_before_is_vouched_for_by_the_mailbox_once(
    app: Litestar, visitor: Visitor, identity_db: Database, keys: KeyEncryption, clock: HeldClock, post: Post
) -> None:
    await a_person(identity_db, clock, "before@exemple.fr")
    secret = await planted(identity_db, keys, clock, "before@exemple.fr")
    await sign_in(visitor, "before@exemple.fr")
    page = await visitor.follow(await visitor.post(SECOND, code=value_at(secret, clock)))
    assert visitor.cookie(SESSION) is None and "Nous avons envoyé un code" in told(page)
    done = await visitor.post(SECOND, code=await mailed_code(post, "before@exemple.fr"))
    assert done.headers["location"].startswith("https://portal.")

    clock.forward(minutes=2)
    again = Visitor(app)
    await sign_in(again, "before@exemple.fr")
    done = await again.post(SECOND, code=value_at(secret, clock))
    assert done.headers["location"].startswith("https://portal.")


async def test_the_owner_disavows_an_application_they_did_not_add(
    app: Litestar, visitor: Visitor, identity_db: Database, clock: HeldClock, post: Post
) -> None:
    """Somebody had the password and, once, the mailbox: the notice undoes what they did, whatever they do since."""
    await a_person(identity_db, clock, "undo@cabinet.fr", collaborator=True)
    thief = Visitor(app)
    secret = await at_the_enrolment(thief, post, "undo@cabinet.fr")
    assert (await thief.post(SECOND, code=value_at(secret, clock))).status_code == 200
    link = await disavowal(post, "undo@cabinet.fr")

    # The thief changes the password, and asks for another link: neither ends the notice's.
    clock.forward(minutes=2)
    await thief.get(f"/{CAISSE}/account/password")
    changed = await thief.post(
        f"/{CAISSE}/account/password", password=GOOD_PASSWORD, new_password="tulipe chantier bocal orage"
    )
    assert changed.status_code == 303
    await ask(thief, "undo@cabinet.fr")

    clock.forward(hours=71)
    page = await visitor.get(f"{SET}?link={link}")
    assert "sera retirée" in told(page) and "Au moins 15 caractères" in told(page)
    assert (await visitor.post(SET, link=link, new_password=OTHER_PASSWORD)).status_code == 200
    assert (await thief.get(f"/{CAISSE}/account")).status_code == 303
    clock.forward(minutes=2)
    page = await visitor.follow(await sign_in(visitor, "undo@cabinet.fr", OTHER_PASSWORD))
    assert "Nous avons envoyé un code" in told(page)
    assert (await visitor.get(f"{SET}?link={link}")).status_code == 410


async def test_a_disavowal_removes_no_application_of_before_and_dies_in_72_hours(
    visitor: Visitor, app: Litestar, identity_db: Database, clock: HeldClock, post: Post
) -> None:
    await enrolled(app, identity_db, clock, post, "late@cabinet.fr")
    link = await disavowal(post, "late@cabinet.fr")
    async with identity_db.transaction(CAISSE) as tx:
        await tx.execute(
            "UPDATE totp_factor SET confirmed_at = confirmed_at - interval '1 minute'"
            " WHERE person_id = (SELECT id FROM person WHERE email_key = 'late@cabinet.fr')"
        )
    assert "sera retirée" not in told(await visitor.get(f"{SET}?link={link}"))
    clock.forward(hours=72)
    assert (await visitor.get(f"{SET}?link={link}")).status_code == 410


async def test_a_password_verified_while_it_was_being_changed_opens_nothing(
    app: Litestar, identity_db: Database, clock: HeldClock, post: Post
) -> None:
    """The thief's sign-in began after the owner's change did, and is still verified against the former password."""
    caisse = parse_caisse_slug(CAISSE)
    await a_person(identity_db, clock, "raced@exemple.fr")
    async with identity_db.transaction(caisse) as tx:
        verified = await people.find_person(tx, email_key="raced@exemple.fr")
        assert verified is not None
        assert await people.password_stands(tx, verified)
    async with identity_db.transaction(caisse) as tx:
        await people.set_password(tx, verified.id, "$argon2id$another", now=clock())
    async with identity_db.transaction(caisse) as tx:
        assert not await people.password_stands(tx, verified)


async def test_a_change_of_password_waits_for_a_sign_in_under_way_and_then_ends_it(
    app: Litestar, visitor: Visitor, identity_db: Database, clock: HeldClock, post: Post
) -> None:
    caisse = parse_caisse_slug(CAISSE)
    await a_person(identity_db, clock, "ordered@exemple.fr")
    link = await mailed(visitor, "ordered@exemple.fr", post)
    async with identity_db.transaction(caisse) as tx:
        person = await people.find_person(tx, email_key="ordered@exemple.fr")
        assert person is not None and await people.password_stands(tx, person)
        changing = asyncio.create_task(visitor.post(SET, link=link, new_password=OTHER_PASSWORD))
        _, still = await asyncio.wait([changing], timeout=0.5)
        assert still
        # Dated after the change: only its own row ends it.
        opened = await open_session(
            tx, person_id=person.id, acr="pwd", amr=["pwd"], now=clock() + timedelta(seconds=5), user_agent=""
        )
    assert (await changing).status_code == 200
    async with identity_db.transaction(caisse) as tx:
        ended = await tx.fetchval("SELECT revoked_at FROM session WHERE id = $1", opened.session.id)
    assert ended is not None


async def test_a_sign_in_that_proved_the_former_password_cannot_be_finished(
    app: Litestar, visitor: Visitor, identity_db: Database, clock: HeldClock, post: Post
) -> None:
    """Begun while the new password was being computed: dated after the change, and ended by it all the same."""
    secret = await enrolled(app, identity_db, clock, post, "halfway@cabinet.fr")
    clock.forward(minutes=2)
    link = await mailed(visitor, "halfway@cabinet.fr", post)
    thief = Visitor(app)
    clock.forward(seconds=5)
    await sign_in(thief, "halfway@cabinet.fr")
    clock.now -= timedelta(seconds=5)
    assert (await visitor.post(SET, link=link, new_password=OTHER_PASSWORD)).status_code == 200
    clock.forward(seconds=30)
    await thief.post(SECOND, code=value_at(secret, clock))
    assert thief.cookie(SESSION) is None

"""A forgotten password: the mailed secret alone changes it, once, and signs nobody in."""

import asyncio

from litestar import Litestar

from libs.common.database.pool import Database
from libs.common.values.caisse_slug import parse_caisse_slug
from libs.common.values.identifiers import public_id
from tests.conftest import HeldClock
from tests.identity.sign_in.visitors import (
    CAISSE,
    GOOD_PASSWORD,
    OTHER_CAISSE,
    Post,
    Visitor,
    a_person,
    link_in,
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
    assert told_services == 1


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

"""The mailed link: one effect, whoever opens it first, whatever dies meanwhile."""

import asyncio
import unicodedata

import pytest
from litestar import Litestar

from libs.common.database.pool import Database
from libs.common.values.email import email_for_relays
from services.identity.letters.paper_secret import PaperSecrets
from tests.conftest import HeldClock
from tests.identity.first_connection.activation import (
    AFTER,
    BASE,
    BEFORE,
    accounts_of,
    mailed_link,
    press,
    state_of,
)
from tests.identity.sign_in.visitors import (
    CAISSE,
    GOOD_PASSWORD,
    Firm,
    Post,
    Visitor,
    a_firm,
    a_person,
    link_in,
    sign_in,
    to_the_mailbox,
    told,
)


@pytest.fixture
async def firm(identity_db: Database, paper: PaperSecrets, clock: HeldClock) -> Firm:
    return await a_firm(identity_db, paper, clock)


async def test_opening_the_link_changes_nothing_however_often(
    app: Litestar, visitor: Visitor, firm: Firm, post: Post, identity_db: Database
) -> None:
    link = await mailed_link(visitor, firm, "get@exemple.fr", post)
    gateway = Visitor(app)
    for _ in range(3):
        assert (await gateway.get(f"{BASE}/confirm?link={link}")).status_code == 200
        assert (await gateway.http.head(f"{BASE}/confirm?link={link}")).status_code in {200, 405}
    assert await state_of(identity_db, firm) == BEFORE
    assert (await press(visitor, link)).status_code == 303
    assert await state_of(identity_db, firm) == AFTER


async def test_two_clicks_at_once_open_the_account_once(
    visitor: Visitor, firm: Firm, post: Post, identity_db: Database
) -> None:
    link = await mailed_link(visitor, firm, "twoclicks@exemple.fr", post)
    await visitor.get(f"{BASE}/confirm?link={link}")
    answers = await asyncio.gather(*(press(visitor, link) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [303, 410, 410, 410]
    assert await state_of(identity_db, firm) == AFTER


async def test_another_device_needs_the_password_just_chosen(
    app: Litestar, visitor: Visitor, firm: Firm, post: Post, identity_db: Database
) -> None:
    link = await mailed_link(visitor, firm, "device@exemple.fr", post)
    phone = Visitor(app)
    page = await phone.get(f"{BASE}/confirm?link={link}")
    assert 'type="password"' in page.text
    assert (await press(phone, link)).status_code == 422
    assert (await press(phone, link, password="not the one at all")).status_code == 422
    assert await state_of(identity_db, firm) == BEFORE
    assert (await press(phone, link, password=GOOD_PASSWORD)).status_code == 303
    assert await state_of(identity_db, firm) == AFTER


async def test_the_code_of_the_mail_serves_where_the_letters_were_typed(
    visitor: Visitor, firm: Firm, post: Post, identity_db: Database
) -> None:
    await to_the_mailbox(visitor, firm, "code@exemple.fr")
    text = (await post.newest("code@exemple.fr")).text
    code = next(line.strip() for line in text.splitlines() if line.strip().replace(" ", "").isdigit())
    assert (await visitor.post(f"{BASE}/code", code=code)).status_code == 303
    assert await state_of(identity_db, firm) == AFTER


async def test_the_code_has_five_tries_even_at_once(
    visitor: Visitor, firm: Firm, post: Post, identity_db: Database
) -> None:
    await to_the_mailbox(visitor, firm, "tries@exemple.fr")
    text = (await post.newest("tries@exemple.fr")).text
    code = next(line.strip() for line in text.splitlines() if line.strip().replace(" ", "").isdigit())
    wrong = "00000000" if code[0] != "0" else "11111111"
    answers = await asyncio.gather(*(visitor.post(f"{BASE}/code", code=wrong) for _ in range(30)))
    assert sorted(answer.status_code for answer in answers) == [410] * 25 + [422] * 5
    assert (await visitor.post(f"{BASE}/code", code=code)).status_code == 410
    assert await state_of(identity_db, firm) == BEFORE


async def test_a_new_link_ends_the_former(
    visitor: Visitor, firm: Firm, post: Post, identity_db: Database, clock: HeldClock
) -> None:
    former = await mailed_link(visitor, firm, "again@exemple.fr", post)
    clock.forward(minutes=2)
    await visitor.follow(await visitor.post(f"{BASE}/resend"))
    newer = link_in(await post.newest("again@exemple.fr"), "link=").partition("link=")[2]
    assert newer != former
    assert (await press(visitor, former)).status_code == 410
    assert (await press(visitor, newer)).status_code == 303
    assert await state_of(identity_db, firm) == AFTER


async def test_a_correction_of_the_address_ends_the_link_sent_to_the_wrong_one(
    app: Litestar, visitor: Visitor, firm: Firm, post: Post, clock: HeldClock
) -> None:
    wrong = await mailed_link(visitor, firm, "wrong@exemple.fr", post)
    clock.forward(minutes=2)
    await visitor.get(f"{BASE}/email")
    await visitor.follow(await visitor.post(f"{BASE}/email", email="right@exemple.fr"))
    stranger = Visitor(app)
    assert (await stranger.get(f"{BASE}/confirm?link={wrong}")).status_code == 410
    assert (await press(visitor, wrong)).status_code == 410
    assert "/confirm?link=" in (await post.newest("right@exemple.fr")).text


async def test_a_link_fails_from_its_deadline_on(
    visitor: Visitor, firm: Firm, post: Post, clock: HeldClock, identity_db: Database
) -> None:
    link = await mailed_link(visitor, firm, "late@exemple.fr", post)
    clock.forward(hours=72)
    page = await visitor.get(f"{BASE}/confirm?link={link}")
    assert page.status_code == 410
    assert "Lien inutilisable" in told(page)
    assert (await press(visitor, link, password=GOOD_PASSWORD)).status_code == 410
    assert await state_of(identity_db, firm) == BEFORE


async def test_unknown_and_spent_links_have_one_page(visitor: Visitor, firm: Firm, post: Post) -> None:
    link = await mailed_link(visitor, firm, "spent@exemple.fr", post)
    await press(visitor, link)
    spent = await visitor.get(f"{BASE}/confirm?link={link}")
    unknown = await visitor.get(f"{BASE}/confirm?link=" + "A" * 43)
    assert spent.status_code == unknown.status_code == 410
    assert spent.text == unknown.text


async def test_a_known_address_sees_the_same_pages_and_attaches_after_signing_in(
    app: Litestar, firm: Firm, post: Post, identity_db: Database, paper: PaperSecrets, clock: HeldClock
) -> None:
    person = await a_person(identity_db, clock, "known@exemple.fr", password="velours marteau trombone nuage")
    stranger_firm = await a_firm(identity_db, paper, clock)
    known, unknown = Visitor(app), Visitor(app)
    pages = [
        (await to_the_mailbox(known, firm, "known@exemple.fr")).text.replace(known.token, ""),
        (await to_the_mailbox(unknown, stranger_firm, "fresh@exemple.fr"))
        .text.replace("fresh@", "known@")
        .replace(unknown.token, ""),
    ]
    assert pages[0] == pages[1]

    message = await post.newest("known@exemple.fr")
    assert "Rattachez" in message.subject
    link = link_in(message, "/attach?link=")
    sent = await known.get(link)
    assert "/sign-in?continue=" in sent.headers["location"]
    page = await known.follow(sent)
    wanted = page.text.partition('name="continue" value="')[2].partition('"')[0]
    fields = {"email": "known@exemple.fr", "password": "velours marteau trombone nuage", "continue": wanted}
    attach = await known.follow(await known.post(f"/{CAISSE}/sign-in", **fields))
    assert "Rattacher cette entreprise" in told(attach)
    assert await state_of(identity_db, firm) == BEFORE
    done = await known.post(f"{BASE}/attach", link=link.partition("link=")[2])
    assert done.status_code == 303
    assert await state_of(identity_db, firm) == AFTER
    async with identity_db.transaction(CAISSE) as tx:
        owner = await tx.fetchval("SELECT person_id FROM account WHERE adherent_id = $1", firm.adherent_id)
    assert owner == person


@pytest.mark.parametrize("first_is_known", [False, True])
async def test_the_limits_of_mails_tell_nothing_of_who_has_an_account(
    visitor: Visitor, firm: Firm, identity_db: Database, clock: HeldClock, first_is_known: bool
) -> None:
    """Whoever holds two letters tries addresses one after the other: each costs the same budget."""
    people = [f"{n}-{first_is_known}@exemple.fr".lower() for n in range(4)]
    for has_account, email in zip([True, False] * 2, people, strict=True):
        if has_account:
            await a_person(identity_db, clock, email)
    order = people if first_is_known else people[::-1]
    await to_the_mailbox(visitor, firm, order[0])
    answers = [await visitor.post(f"{BASE}/email", email=email) for email in order[1:]]
    assert [answer.status_code for answer in answers] == [429] * 3
    assert (
        len({told(answer).replace(email, "…") for answer, email in zip(answers, order[1:], strict=True)}) == 1
    )
    clock.forward(minutes=1)
    answers = [await visitor.post(f"{BASE}/email", email=email) for email in order[2:]]
    assert [answer.status_code for answer in answers] == [303, 429]


async def test_an_accent_in_two_pieces_is_the_same_address(
    app: Litestar, firm: Firm, post: Post, identity_db: Database, clock: HeldClock
) -> None:
    person = await a_person(identity_db, clock, "rose@maçon-\u00e9toile.fr")
    visitor = Visitor(app)
    decomposed = unicodedata.normalize("NFD", "Rose@MAÇON-\u00c9TOILE.fr")
    await to_the_mailbox(visitor, firm, decomposed)
    message = await post.newest(email_for_relays("rose@maçon-\u00e9toile.fr"))
    link = link_in(message, "/attach?link=").partition("link=")[2]
    await sign_in(visitor, decomposed)
    assert (await visitor.post(f"{BASE}/attach", link=link)).status_code == 303
    async with identity_db.transaction(CAISSE) as tx:
        owner = await tx.fetchval("SELECT person_id FROM account WHERE adherent_id = $1", firm.adherent_id)
    assert owner == person


async def test_nobody_attaches_with_a_mail_sent_to_somebody_else(
    app: Litestar, firm: Firm, post: Post, identity_db: Database, clock: HeldClock
) -> None:
    await a_person(identity_db, clock, "mine@exemple.fr")
    await a_person(identity_db, clock, "thief@exemple.fr")
    link = await mailed_link(Visitor(app), firm, "mine@exemple.fr", post)
    thief = Visitor(app)
    await sign_in(thief, "thief@exemple.fr")
    await thief.get(f"{BASE}/attach?link={link}")
    assert (await thief.post(f"{BASE}/attach", link=link)).status_code == 403
    assert await state_of(identity_db, firm) == BEFORE


async def test_two_firms_confirmed_at_once_with_one_address_make_one_person(
    app: Litestar, firm: Firm, post: Post, identity_db: Database, paper: PaperSecrets, clock: HeldClock
) -> None:
    other = await a_firm(identity_db, paper, clock)
    first, second = Visitor(app), Visitor(app)
    link = await mailed_link(first, firm, "both@exemple.fr", post)
    clock.forward(minutes=2)
    other_link = await mailed_link(second, other, "both@exemple.fr", post)
    answers = await asyncio.gather(press(first, link), press(second, other_link))
    places = sorted(answer.headers["location"].rpartition("/")[2].partition("?")[0] for answer in answers)
    assert places == ["attach", "done"]
    async with identity_db.transaction(CAISSE) as tx:
        assert await tx.fetchval("SELECT count(*) FROM person WHERE email_key = 'both@exemple.fr'") == 1
    # What was not attached is still there to attach.
    assert sorted([await accounts_of(identity_db, firm), await accounts_of(identity_db, other)]) == [
        [],
        ["active"],
    ]


async def test_letters_reissued_meanwhile_make_the_link_unusable(
    visitor: Visitor, firm: Firm, post: Post, identity_db: Database, clock: HeldClock
) -> None:
    link = await mailed_link(visitor, firm, "reissued@exemple.fr", post)
    async with identity_db.transaction(CAISSE) as tx:
        await tx.execute(
            "UPDATE letter_pair SET state = 'reissued', ended_at = $2 WHERE id = $1", firm.pair_id, clock()
        )
    assert (await press(visitor, link)).status_code == 410
    assert await accounts_of(identity_db, firm) == []


async def test_each_step_can_be_left_and_resumed(visitor: Visitor, firm: Firm) -> None:
    await visitor.get(BASE)
    await visitor.post(
        f"{BASE}/letters",
        number=firm.adherent_number,
        identifiant=firm.identifiant,
        code_confidentiel=firm.code_confidentiel,
    )
    assert (await visitor.get(BASE)).headers["location"].endswith("/email")
    await visitor.get(f"{BASE}/email")
    await visitor.post(f"{BASE}/email", email="resume@exemple.fr")
    assert (await visitor.get(BASE)).headers["location"].endswith("/password")
    assert (await visitor.get(f"{BASE}/mailbox")).headers["location"].endswith("/password")


async def test_a_short_or_obvious_password_is_refused_with_its_remedy(visitor: Visitor, firm: Firm) -> None:
    await to_the_mailbox(visitor, firm, "weak@exemple.fr", password=GOOD_PASSWORD)
    for weak, remedy in (
        ("court", "au moins 15 caractères"),
        ("caisse caisse caisse", "se devine"),
        (firm.siret + "btp", "se devine"),
        ("aaaaaaaaaaaaaaaaaaaaaa", "se devine"),
    ):
        answer = await visitor.post(f"{BASE}/password", password=weak)
        assert answer.status_code == 422
        assert remedy in told(answer)


async def test_a_firm_struck_off_meanwhile_opens_no_account(
    app: Litestar, visitor: Visitor, firm: Firm, post: Post, identity_db: Database
) -> None:
    link = await mailed_link(visitor, firm, "radiee@exemple.fr", post)
    text = (await post.newest("radiee@exemple.fr")).text
    code = next(line.strip() for line in text.splitlines() if line.strip().replace(" ", "").isdigit())
    async with identity_db.transaction(CAISSE) as tx:
        await tx.execute("UPDATE adherent SET state = 'struck_off' WHERE id = $1", firm.adherent_id)

    assert (await visitor.get(f"{BASE}/confirm?link={link}")).status_code == 410
    assert (await press(visitor, link)).status_code == 410
    assert (await press(Visitor(app), link, password=GOOD_PASSWORD)).status_code == 410
    # The browser that showed the letters is asked for them again, and they open nothing more.
    for answer in (await visitor.post(f"{BASE}/code", code=code), await visitor.get(f"{BASE}/email")):
        assert answer.headers["location"].endswith("/first-connection/letters")
    again = await visitor.post(
        f"{BASE}/letters",
        number=firm.siret,
        identifiant=firm.identifiant,
        **{"code-confidentiel": firm.code_confidentiel},
    )
    assert again.status_code == 422
    assert await state_of(identity_db, firm) == BEFORE

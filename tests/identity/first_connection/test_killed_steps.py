"""Each step of a first connection cut short at each statement: nothing of it stays, and asking again works."""

from datetime import timedelta
from uuid import uuid4

import pytest
from litestar import Litestar

from libs.common.database.pool import Database
from libs.common.database.transaction import DatabaseUnavailable
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.values.email import Email
from libs.common.values.identifiers import new_id
from services.identity.first_connection import store
from services.identity.first_connection.ask_confirmation import (
    ask_confirmation,
    choose_email,
    choose_password,
    code_mac,
    current,
)
from services.identity.first_connection.attach_firm import attach_firm
from services.identity.first_connection.confirm_email import confirm_by_code
from services.identity.first_connection.show_letters import Typed, show_letters
from services.identity.first_connection.store import FirstConnection, NewLink
from services.identity.letters.paper_secret import PaperSecrets
from services.identity.mail.enqueue import Mail
from services.identity.sign_in.session import hash_of, open_session
from tests.conftest import HeldClock
from tests.identity.killed import Dying, Scene, killed_everywhere
from tests.identity.sign_in.visitors import CAISSE, Firm, a_firm, a_person

HOME = "https://portal.example.test"
STEPS = ("first_connection", "email_confirmation", "mail_queue", "journal", "outbox")
OPENING = ("person", "account", "letter_pair", "first_connection", "journal", "outbox", "mail_queue")
CODE = "12345678"


class Desk:
    """What the scenes are made of."""

    def __init__(self, db: Database, paper: PaperSecrets, keys: KeyEncryption, clock: HeldClock) -> None:
        self.db, self.paper, self.keys, self.clock, self.mail = db, paper, keys, clock, Mail(keys)

    async def first(self) -> FirstConnection:
        """Both letters shown, an address and a password chosen."""
        firm, now = await a_firm(self.db, self.paper, self.clock), self.clock()
        cookie = await self.show(self.db, firm)
        async with self.db.transaction(CAISSE) as tx:
            await choose_email(tx, await current(tx, cookie, now), an_address(), "Rose", now=now)
            await choose_password(tx, await current(tx, cookie, now), "$argon2id$chosen")
            return await current(tx, cookie, now)

    async def show(self, db: Database, firm: Firm) -> str:
        typed = Typed(firm.siret, firm.identifiant, firm.code_confidentiel)
        return await show_letters(db, self.paper, CAISSE, typed, now=self.clock())

    async def link(self, first: FirstConnection) -> str:
        token, now = uuid4().hex, self.clock()
        async with self.db.transaction(CAISSE) as tx:
            assert first.email is not None
            code = code_mac(self.keys, first.id, CODE)
            due = now + timedelta(hours=72)
            await store.add_link(tx, NewLink(new_id(), first.id, first.email, hash_of(token), code, now, due))
        return token


def an_address() -> Email:
    return Email(f"{uuid4().hex}@exemple.fr")


@pytest.fixture
def desk(
    app: Litestar, identity_db: Database, paper: PaperSecrets, keys: KeyEncryption, clock: HeldClock
) -> Desk:
    return Desk(identity_db, paper, keys, clock)


async def test_choosing_an_address_again(desk: Desk) -> None:
    async def scene() -> Scene:
        first = await desk.first()
        await desk.link(first)
        address = an_address()

        async def act(db: Database) -> None:
            async with db.transaction(CAISSE) as tx:
                await choose_email(tx, first, address, "Rose Fabre", now=desk.clock())

        return Scene(CAISSE, act)

    assert await killed_everywhere(desk.db, scene, STEPS) == 2


async def test_choosing_a_password(desk: Desk) -> None:
    async def scene() -> Scene:
        first = await desk.first()

        async def act(db: Database) -> None:
            async with db.transaction(CAISSE) as tx:
                await choose_password(tx, first, "$argon2id$another")

        return Scene(CAISSE, act)

    assert await killed_everywhere(desk.db, scene, STEPS) == 1


async def test_asking_for_the_mail_leaves_the_former_link_good(desk: Desk) -> None:
    async def scene() -> Scene:
        first = await desk.first()
        await desk.link(first)

        async def act(db: Database) -> None:
            async with db.transaction(CAISSE) as tx:
                await ask_confirmation(
                    tx,
                    desk.mail,
                    desk.keys,
                    first,
                    base=HOME,
                    valid_for=timedelta(hours=72),
                    now=desk.clock(),
                )

        return Scene(CAISSE, act)

    assert await killed_everywhere(desk.db, scene, STEPS) > 5


async def test_confirming_by_the_typed_code_spends_the_try_and_nothing_else(desk: Desk) -> None:
    async def scene() -> Scene:
        first = await desk.first()
        await desk.link(first)

        async def act(db: Database) -> None:
            now = desk.clock()
            await confirm_by_code(db, desk.mail, desk.keys, CAISSE, first, CODE, home=HOME, now=now)

        return Scene(CAISSE, act)

    assert await killed_everywhere(desk.db, scene, OPENING) > 8


async def test_attaching_a_firm_to_a_known_person(desk: Desk) -> None:
    async def scene() -> Scene:
        first, now = await desk.first(), desk.clock()
        assert first.email is not None
        person_id = await a_person(desk.db, desk.clock, first.email)
        token = await desk.link(first)
        async with desk.db.transaction(CAISSE) as tx:
            opened = await open_session(tx, person_id=person_id, acr="pwd", amr=["pwd"], now=now)

        async def act(db: Database) -> None:
            async with db.transaction(CAISSE) as tx:
                await attach_firm(tx, desk.mail, token, opened.session, home=HOME, now=now)

        return Scene(CAISSE, act)

    assert await killed_everywhere(desk.db, scene, (*OPENING, "email_confirmation")) > 8


async def test_showing_the_letters_opens_all_or_nothing(desk: Desk) -> None:
    async def scene() -> Scene:
        firm = await a_firm(desk.db, desk.paper, desk.clock)

        async def act(db: Database) -> None:
            await desk.show(db, firm)

        return Scene(CAISSE, act)

    assert await killed_everywhere(desk.db, scene, STEPS) >= 4


async def test_a_try_is_spent_before_the_code_is_judged_and_given_back_when_it_was_right(desk: Desk) -> None:
    """Dying between the two leaves at most one try spent, never one gained, and the pair alive."""
    left: list[int] = []
    while True:
        firm = await a_firm(desk.db, desk.paper, desk.clock)
        try:
            await desk.show(Dying(desk.db, len(left) + 1), firm)
        except DatabaseUnavailable:
            left.append(await failures(desk.db, firm))
            await desk.show(desk.db, firm)
            assert await failures(desk.db, firm) == left[-1]
        else:
            assert await failures(desk.db, firm) == 0
            break
    assert set(left) == {0, 1}


async def failures(db: Database, firm: Firm) -> int:
    async with db.transaction(CAISSE) as tx:
        row = await tx.fetchrow("SELECT state, failures FROM letter_pair WHERE id = $1", firm.pair_id)
    assert row is not None
    assert row["state"] == "mailed"
    return row["failures"]

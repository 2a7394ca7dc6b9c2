"""What one changes of one's account, cut short at each statement: as it was, then changed when asked again."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from uuid import UUID, uuid4

import pytest
from litestar import Litestar
from pyotp import random_base32
from pyotp.totp import TOTP

from libs.common.database.pool import Database
from libs.common.keys.key_encryption import KeyEncryption
from services.identity.account.change_account import add_factor, drop_factor, replace_password
from services.identity.mail.enqueue import Mail
from services.identity.sign_in import store as people
from services.identity.sign_in.factors import store as factors
from services.identity.sign_in.password import Passwords
from services.identity.sign_in.prove_again import finish_step_up
from services.identity.sign_in.session import Session, SignInRequired, end_session, open_session
from services.identity.sign_in.sign_in import Browser
from services.identity.sign_in.totp import PROPOSAL_LASTS, PURPOSE, confirm_totp
from tests.conftest import HeldClock
from tests.identity.killed import Scene, killed_everywhere
from tests.identity.sign_in.visitors import BASE, CAISSE, GOOD_PASSWORD, a_person

TABLES = (
    "person",
    "session",
    "totp_factor",
    "totp_proposal",
    "password_reset",
    "recovery_code",
    "journal",
    "mail_queue",
    "outbox",
)
BROWSER = Browser(None, None, "203.0.113.0/24", "")

Change = Callable[[Database], Awaitable[object]]


class Owner:
    """Somebody signed in, who has just proven it is still them."""

    def __init__(
        self, db: Database, keys: KeyEncryption, passwords: Passwords, clock: HeldClock, totp: TOTP
    ) -> None:
        self.db, self.keys, self.passwords, self.clock = db, keys, passwords, clock
        self.mail, self.totp = Mail(keys), totp
        self.session: Session

    async def arrive(self, *, enrolled: bool) -> None:
        self.clock.forward(minutes=2)
        now, secret = self.clock(), self.totp.secret
        self.person_id: UUID = await a_person(self.db, self.clock, f"{uuid4().hex}@exemple.fr")
        async with self.db.transaction(CAISSE) as tx:
            person = await people.find_person(tx, person_id=self.person_id)
            assert person is not None
            level = "mfa" if enrolled else "two_step"
            # Another browser, that a change signs out; then this one.
            for _ in range(2):
                self.session = (
                    await open_session(
                        tx, person_id=self.person_id, acr=level, amr=["pwd"], now=now, second_factor_at=now
                    )
                ).session
            sealed = self.keys.seal(PURPOSE, base64.b32decode(secret), context=self.person_id.bytes)
            shown_to = self.session.id
            await factors.propose_totp(
                tx, shown_to, self.person_id, sealed, now=now, expires_at=now + PROPOSAL_LASTS
            )
            if enrolled:
                await confirm_totp(
                    tx, self.keys, self.mail, person, self.totp.at(now), shown_to=shown_to, base=BASE, now=now
                )

    async def another_password(self, db: Database) -> None:
        await replace_password(
            db, self.passwords, self.mail, CAISSE, self.session, present=GOOD_PASSWORD,
            chosen="cigogne parapluie betterave quai", browser=BROWSER, now=self.clock(),
        )  # fmt: skip

    async def a_factor(self, db: Database) -> None:
        async with db.transaction(CAISSE) as tx:
            now = self.clock()
            await add_factor(tx, self.keys, self.mail, self.session, self.totp.at(now), base=BASE, now=now)

    async def no_factor(self, db: Database) -> None:
        await drop_factor(
            db,
            self.passwords,
            self.mail,
            CAISSE,
            self.session,
            GOOD_PASSWORD,
            browser=BROWSER,
            now=self.clock(),
        )

    async def a_step_up(self, db: Database) -> None:
        self.clock.forward(seconds=1)
        async with db.transaction(CAISSE) as tx:
            await finish_step_up(tx, self.session, frozenset({"pwd", "otp"}), now=self.clock())


@pytest.mark.parametrize(
    ("change", "enrolled", "least"),
    [
        (Owner.another_password, False, 8),
        (Owner.a_factor, False, 6),
        (Owner.no_factor, True, 6),
        (Owner.a_step_up, False, 2),
    ],
)
async def test_a_change_cut_short_anywhere_changes_nothing(
    app: Litestar,
    identity_db: Database,
    keys: KeyEncryption,
    clock: HeldClock,
    change: Callable[[Owner, Database], Awaitable[None]],
    enrolled: bool,
    least: int,
) -> None:
    passwords = Passwords()

    async def scene() -> Scene:
        owner = Owner(identity_db, keys, passwords, clock, TOTP(random_base32(32)))
        await owner.arrive(enrolled=enrolled)
        return Scene(CAISSE, lambda db: change(owner, db))

    try:
        assert await killed_everywhere(identity_db, scene, TABLES) >= least
    finally:
        passwords.close()


async def an_owner(
    db: Database, keys: KeyEncryption, passwords: Passwords, clock: HeldClock, *, enrolled: bool
) -> Owner:
    owner = Owner(db, keys, passwords, clock, TOTP(random_base32(32)))
    await owner.arrive(enrolled=enrolled)
    return owner


async def test_of_two_new_passwords_at_once_one_is_kept(
    app: Litestar, identity_db: Database, keys: KeyEncryption, clock: HeldClock
) -> None:
    """Else whoever shares the browser, and knows the former password, has the last word on the owner's new one."""
    passwords = Passwords()
    try:
        owner = await an_owner(identity_db, keys, passwords, clock, enrolled=False)
        both = [owner.another_password(identity_db) for _ in range(2)]
        answers = await asyncio.gather(*both, return_exceptions=True)
    finally:
        passwords.close()
    assert [type(one).__name__ for one in answers if one is not None] == ["WrongCredentials"]


async def test_an_ended_session_removes_no_factor(
    app: Litestar, identity_db: Database, keys: KeyEncryption, clock: HeldClock
) -> None:
    """The password is verified for a while, in which the owner may have sent this browser away."""
    passwords = Passwords()
    try:
        owner = await an_owner(identity_db, keys, passwords, clock, enrolled=True)
        async with identity_db.transaction(CAISSE) as tx:
            assert await end_session(tx, owner.session.id, now=clock())
        with pytest.raises(SignInRequired):
            await owner.no_factor(identity_db)
        async with identity_db.transaction(CAISSE) as tx:
            assert await factors.find_totp(tx, owner.person_id) is not None
    finally:
        passwords.close()

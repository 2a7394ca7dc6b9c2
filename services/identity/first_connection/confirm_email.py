"""Step 6: the address is proven, the account opens, the letters die: one transaction, once.

Journey: docs/explanation/first-connection.md, step 6.
"""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID, uuid4

from libs.common.access.rights import ADMINISTRATOR
from libs.common.database import journal, outbox
from libs.common.database.journal import Act, Actor
from libs.common.database.pool import Database
from libs.common.database.transaction import Tx
from libs.common.events.identity import AccountActivated
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.refusals import DomainError
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.email import email_key
from libs.common.values.identifiers import new_id, public_id
from services.identity.first_connection import store
from services.identity.first_connection.ask_confirmation import code_mac
from services.identity.first_connection.store import Claimed, FirstConnection, LiveLink
from services.identity.letters.redeem import kill_pair
from services.identity.mail.enqueue import Mail
from services.identity.sign_in import throttle
from services.identity.sign_in.new_password import LinkNotUsable
from services.identity.sign_in.password import Passwords
from services.identity.sign_in.session import hash_of

CODE_TRIES = 5


class AddressAlreadyKnown(DomainError):
    """Somebody has this address: they sign in and attach the firm, a second person is never made."""


class AccountFrozen(DomainError):
    """The account was frozen, by its owner or by the caisse: letters do not thaw it."""


class WrongConfirmation(DomainError):
    """Neither the browser that asked, nor the password chosen there; or a wrong typed code."""


class MayConfirm(NamedTuple):
    """Proof that whoever presses the button is whoever chose the password: a mail gateway is not."""

    first_connection_id: UUID


class Account(NamedTuple):
    """An account just opened."""

    id: UUID
    person_id: UUID
    adherent_id: UUID
    legal_name: str


def same_browser(first: FirstConnection | None, link: LiveLink) -> MayConfirm | None:
    """The cookie of the browser that showed the letters is proof enough."""
    if first is None or first.id != link.first_connection_id:
        return None
    return MayConfirm(first.id)


async def knows_password(
    db: Database, passwords: Passwords, caisse: CaisseSlug, link: LiveLink, password: str, *, now: datetime
) -> MayConfirm:
    """On another device, the password just chosen is the proof. Raises `WrongConfirmation`, `Throttled`."""
    async with db.transaction(caisse) as tx:
        await throttle.spend(tx, "link", link.first_connection_id.hex, throttle.PER_LINK, now=now)
    if not await passwords.verify(link.password_hash, password):
        raise WrongConfirmation
    return MayConfirm(link.first_connection_id)


async def confirm_email(
    tx: Tx, mail: Mail, link_token: str, by: MayConfirm, *, home: str, now: datetime
) -> Account:
    """Turn a proven first connection into a live account, exactly once.

    `link_token` is the secret from the e-mail, 32 bytes base64url; only its SHA-256
    is stored. Expiry is exclusive: a link due at noon fails at noon. `home` is where
    the mail that follows leads.

    Records `AccountActivated`. Raises `LinkNotUsable`, `AddressAlreadyKnown` (nothing
    is spent then), `AccountFrozen`, `PairNotUsable`.
    """
    claimed = await store.claim_link(tx, by.first_connection_id, token_hash=hash_of(link_token), now=now)
    if claimed is None:
        raise LinkNotUsable
    return await _open(tx, mail, claimed, home=home, now=now)


async def confirm_by_code(
    db: Database,
    mail: Mail,
    keys: KeyEncryption,
    caisse: CaisseSlug,
    first: FirstConnection,
    typed: str,
    *,
    home: str,
    now: datetime,
) -> Account:
    """The same with the code typed in the browser that showed the letters, five tries a mail.

    Raises `WrongConfirmation`, and what `confirm_email` raises.
    """
    # 1. The try is spent before it is judged, and stays spent whatever follows.
    async with db.transaction(caisse) as tx:
        if not await store.count_code_failure(tx, first.id, now=now, most=CODE_TRIES):
            raise LinkNotUsable

    # 2. Claim and open, or neither.
    async with db.transaction(caisse) as tx:
        claimed = await store.claim_link(tx, first.id, code_hash=code_mac(keys, first.id, typed), now=now)
        if claimed is None:
            raise WrongConfirmation
        return await _open(tx, mail, claimed, home=home, now=now)


async def _open(tx: Tx, mail: Mail, claimed: Claimed, *, home: str, now: datetime) -> Account:
    person_id = new_id()
    added = claimed.password_hash is not None and await store.add_person(
        tx,
        person_id,
        email=claimed.email,
        email_key=email_key(claimed.email),
        full_name=claimed.full_name,
        password_hash=claimed.password_hash,
        now=now,
    )
    if not added:
        raise AddressAlreadyKnown
    return await open_account(tx, mail, claimed, person_id, home=home, now=now)


async def open_account(
    tx: Tx, mail: Mail, claimed: Claimed, person_id: UUID, *, home: str, now: datetime
) -> Account:
    """The rest is the same for a new person and a known one: letters dead, account live, told once."""
    await kill_pair(tx, claimed.pair_id, now)
    account_id = await store.open_account(
        tx,
        new_id(),
        person_id=person_id,
        adherent_id=claimed.adherent_id,
        rights=sorted(ADMINISTRATOR),
        now=now,
    )
    if account_id is None:
        raise AccountFrozen
    if not await store.complete(tx, claimed.first_connection_id, now=now):
        raise LinkNotUsable
    await journal.record(
        tx,
        Act(
            action="account.activated",
            subject_kind="account",
            subject_id=public_id("acc", account_id),
            adherent_id=claimed.adherent_id,
            at=now,
            actor=Actor(person_id=person_id),
        ),
    )
    await outbox.record(
        tx,
        AccountActivated(
            event_id=uuid4(),
            at=now,
            account_id=account_id,
            person_id=person_id,
            adherent_id=claimed.adherent_id,
        ),
    )
    values = {"firm": claimed.legal_name, "link": home}
    await mail.enqueue(tx, template="account_activated", to=claimed.email, values=values, now=now)
    return Account(account_id, person_id, claimed.adherent_id, claimed.legal_name)

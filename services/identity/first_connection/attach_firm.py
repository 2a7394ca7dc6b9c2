"""The address has an account already: its owner signs in and attaches the firm to it.

Journey: docs/explanation/first-connection.md, "Une adresse déjà connue".
"""

from datetime import datetime

from libs.common.database.transaction import Tx
from libs.common.refusals import DomainError
from libs.common.values.email import email_key
from services.identity.first_connection import store
from services.identity.first_connection.confirm_email import Account, open_account
from services.identity.mail.enqueue import Mail
from services.identity.sign_in import store as people
from services.identity.sign_in.new_password import LinkNotUsable
from services.identity.sign_in.session import Session, hash_of


class NotYourAddress(DomainError):
    """The mail went to another address than the one signed in with."""


async def attach_firm(
    tx: Tx, mail: Mail, link_token: str, session: Session, *, home: str, now: datetime
) -> Account:
    """Open an account of the person signed in, whose address received the link.

    Records `AccountActivated`. Raises `LinkNotUsable`, `NotYourAddress`,
    `AccountFrozen`, `PairNotUsable`.
    """
    link = await store.find_link(tx, hash_of(link_token), now=now)
    person = await people.find_person(tx, person_id=session.person_id)
    if link is None or person is None:
        raise LinkNotUsable
    if email_key(person.email) != email_key(link.email):
        raise NotYourAddress
    claimed = await store.claim_link(tx, link.first_connection_id, token_hash=hash_of(link_token), now=now)
    if claimed is None:
        raise LinkNotUsable
    return await open_account(tx, mail, claimed, person.id, home=home, now=now)

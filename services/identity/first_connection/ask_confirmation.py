"""Steps 3 to 5: an address, a password, and a mail that alone can prove the address.

Nothing here says whether the address is known: the mail tells the truth, to its owner.

Journey: docs/explanation/first-connection.md, steps 3 to 5.
"""

import secrets
from datetime import datetime, timedelta
from uuid import UUID

from libs.common.database.transaction import Tx
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.refusals import DomainError
from libs.common.values.email import Email, email_key
from libs.common.values.identifiers import new_id
from services.identity.first_connection import store
from services.identity.first_connection.store import FirstConnection, NewLink
from services.identity.mail.enqueue import Mail
from services.identity.sign_in.session import hash_of, new_secret

CODE_DIGITS = 8


class NothingUnderWay(DomainError):
    """This browser has no first connection: the letters are asked again."""


async def current(tx: Tx, cookie: str | None, now: datetime) -> FirstConnection:
    """The first connection of this browser. Raises `NothingUnderWay`."""
    found = await store.find(tx, hash_of(cookie), now=now) if cookie else None
    if found is None:
        raise NothingUnderWay
    return found


async def choose_email(
    tx: Tx, first: FirstConnection, email: Email, full_name: str, *, now: datetime
) -> None:
    """Note the address (again, if it was wrong): a link mailed to the former one ends. Raises `NothingUnderWay`."""
    if not await store.choose_email(tx, first.id, email=email, full_name=full_name):
        raise NothingUnderWay
    if first.email is not None and email_key(first.email) != email_key(email):
        await store.supersede_links(tx, first.id, now=now)


async def choose_password(tx: Tx, first: FirstConnection, password_hash: str) -> None:
    """Keep the hash until the address is proven. Raises `NothingUnderWay`."""
    if not await store.choose_password(tx, first.id, password_hash):
        raise NothingUnderWay


async def ask_confirmation(
    tx: Tx,
    mail: Mail,
    keys: KeyEncryption,
    first: FirstConnection,
    *,
    base: str,
    valid_for: timedelta,
    now: datetime,
) -> None:
    """Mail a link and a code; the former ones end with this very transaction.

    Raises `MailLimitReached`, and then the link already mailed stays good.
    """
    if first.email is None:
        raise NothingUnderWay
    token, code = new_secret(), f"{secrets.randbelow(10**CODE_DIGITS):0{CODE_DIGITS}}"
    deadline = now + valid_for
    values = {"firm": first.legal_name, "deadline": deadline.isoformat()}
    link = f"{base}/{tx.the_caisse}/first-connection"
    if await store.email_is_known(tx, email_key(first.email)):
        template = "already_known"
        values["link"] = f"{link}/attach?link={token}"
    else:
        template = "confirm_email"
        values |= {"link": f"{link}/confirm?link={token}", "code": f"{code[:4]} {code[4:]}"}
    await mail.enqueue(
        tx,
        template=template,
        to=first.email,
        values=values,
        now=now,
        about=first.siret or first.adherent_number,
        limited=True,
    )
    await store.supersede_links(tx, first.id, now=now)
    await store.add_link(
        tx,
        NewLink(
            id=new_id(),
            first_connection_id=first.id,
            email=first.email,
            token_hash=hash_of(token),
            code_hash=code_mac(keys, first.id, code),
            requested_at=now,
            expires_at=deadline,
        ),
    )


def code_mac(keys: KeyEncryption, first_connection_id: UUID, typed: str) -> bytes:
    """Eight digits are few: what is stored is keyed, and bound to this first connection."""
    digits = "".join(symbol for symbol in typed if symbol.isdigit())
    return keys.mac("confirmation_code", first_connection_id.bytes + digits.encode())

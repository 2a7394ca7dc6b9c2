"""A mail leaves with its cause: one row in the transaction that decided it.

The courier sends it later, so no request waits for a mail server, and a rolled
back cause writes to nobody.
"""

import hashlib
from datetime import datetime, timedelta
from email.utils import make_msgid
from typing import Literal

import msgspec

from libs.common.database.transaction import Tx
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.refusals import DomainError
from libs.common.values.email import email_key
from libs.common.values.identifiers import new_id
from services.identity.mail import store
from services.identity.mail.messages import MESSAGES, counted_with

PURPOSE = "mail"

WINDOWS = ((timedelta(minutes=1), 1), (timedelta(hours=1), 5), (timedelta(days=1), 10))
"""Asked-for mails of one kind to one address, or about one firm: 1 a minute, 5 an hour, 10 a day."""


class MailLimitReached(DomainError):
    """This address, or this firm, was written to often enough for now."""


class Letter(msgspec.Struct, frozen=True):
    """What the courier needs to write the mail: sealed in the row, erased once sent."""

    to: str
    values: dict[str, str]


class Mail:
    """The outgoing mail of the service; holds the key that seals what waits."""

    def __init__(self, keys: KeyEncryption) -> None:
        self._keys = keys

    async def enqueue(
        self,
        tx: Tx,
        *,
        template: str,
        to: str,
        values: dict[str, str],
        now: datetime,
        locale: Literal["fr", "en"] = "fr",
        about: str | None = None,
        limited: bool = False,
    ) -> None:
        """Put one mail in the queue of the caisse of `tx`; it goes after the commit.

        `template` is a name of `mail/messages.py`, `values` exactly what it needs,
        as text (instants in ISO 8601, links absolute). `limited` marks a mail that
        somebody asked for by typing an address: it counts against the limits of
        the address and of `about` (a SIRET or an adhérent number).

        Raises `MailLimitReached` (only when `limited`), `KeyError` on an unknown
        template, `ValueError` when the values are not what the template needs.
        """
        message = MESSAGES[template]
        message.check(values)
        address = fingerprint(email_key(to))
        target = None if about is None else fingerprint(about)
        if limited:
            await self._keep_within_limits(tx, template, address, target, now)
        row_id = new_id()
        sealed = self._keys.seal(PURPOSE, msgspec.json.encode(Letter(to, values)), context=row_id.bytes)
        await store.add(
            tx,
            store.QueuedMail(
                id=row_id,
                template=template,
                locale=locale,
                message_id=make_msgid(idstring=row_id.hex, domain=f"{tx.the_caisse}.espace"),
                address_key=address,
                target_key=target,
                is_limited=limited,
                parameters=sealed,
                created_at=now,
            ),
        )

    def open(self, row_id: bytes, parameters: bytes) -> Letter:
        """What `enqueue` sealed in this row. Raises `SealBroken`."""
        return msgspec.json.decode(self._keys.open(PURPOSE, parameters, context=row_id), type=Letter)

    async def _keep_within_limits(
        self, tx: Tx, template: str, address: bytes, target: bytes | None, now: datetime
    ) -> None:
        # Each kind of mail has its own budget: a stranger who asks for links to an
        # address must not keep its owner from the code that signs them in. A kind is an act,
        # not a text: an address that has an account and one that has none cost the same.
        # Two asks at the same instant queue here, so that each counts the other.
        await store.take_turn(tx, address)
        if target is not None:
            await store.take_turn(tx, target)
        kind = sorted(counted_with(template))
        for window, most in WINDOWS:
            if await store.most_asked_since(tx, kind, address, target, now - window) >= most:
                raise MailLimitReached


def fingerprint(text: str) -> bytes:
    """What limits are counted by: the queue keeps no address in clear."""
    return hashlib.sha256(text.encode()).digest()

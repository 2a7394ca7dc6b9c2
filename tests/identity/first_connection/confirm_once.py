"""A process that confirms one address and is killed while it does: run by test_killed_activation.py."""

import asyncio
import sys
from datetime import datetime
from uuid import UUID

import msgspec

from libs.common.database.pool import Database
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.values.caisse_slug import CaisseSlug
from services.identity.first_connection.confirm_email import MayConfirm, confirm_email
from services.identity.mail.enqueue import Mail


class Order(msgspec.Struct):
    """Which link to press, and where."""

    dsn: str
    caisse: CaisseSlug
    first_connection: UUID
    link: str
    now: datetime


async def main(order: Order) -> None:
    db = await Database.open(order.dsn, name="killed", command_timeout=60)
    mail, by = Mail(KeyEncryption(b"k" * 32)), MayConfirm(order.first_connection)
    async with db.transaction(order.caisse) as tx:
        await confirm_email(tx, mail, order.link, by, home="https://x.test", now=order.now)
    print("confirmed", flush=True)
    await asyncio.sleep(60)


if __name__ == "__main__":
    asyncio.run(main(msgspec.json.decode(sys.stdin.buffer.read(), type=Order)))

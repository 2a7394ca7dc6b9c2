"""Power of a group, a person, a machine, a client or a session shrank: tokens of before are refused everywhere.

Here, by introspection; in the services, by the fact. docs/decisions/0120.
"""

import time
from datetime import datetime, timedelta
from typing import Literal
from uuid import uuid4

import structlog

from libs.common.access.revocations import floor_name
from libs.common.database import outbox
from libs.common.database.transaction import DatabaseUnavailable, OpensTransactions, Tx
from libs.common.events.identity import FloorRaised
from libs.common.values.caisse_slug import CaisseSlug
from services.identity.floors import store

log = structlog.get_logger()

Kind = Literal["group", "actor", "cabinet", "client", "sid"]
"""A mandate's floor is its version, which its own row holds."""


async def raise_floor(tx: Tx, kind: Kind, key: str, now: datetime) -> None:
    """With the change itself, and after it: `key` is the public id that tokens carry.

    Whoever has not seen the change read before its commit ended, and a token is dated by that read
    (`tokens._base`). So a commit that ends in the second of its floor leaves no token alive; the floor of one
    that ends in a later second is dated again.
    """
    began = time.monotonic()
    not_before = await _raised(tx, kind, key, now)

    async def date_again_if_late(db: OpensTransactions) -> None:
        # The database's clock now, at most: what it said, and all that has passed since it was asked.
        latest = not_before + timedelta(seconds=time.monotonic() - began)
        if latest.replace(microsecond=0) > not_before:
            await _date_again(db, tx.the_caisse, kind, key, now)

    tx.afterwards.append(date_again_if_late)


async def _raised(tx: Tx, kind: Kind, key: str, now: datetime) -> datetime:
    not_before = await store.raise_floor(tx, "/".join(floor_name(kind, key, tx.the_caisse)), now)
    await outbox.record(tx, FloorRaised(event_id=uuid4(), at=now, kind=kind, key=key, not_before=not_before))
    return not_before


async def _date_again(db: OpensTransactions, caisse: CaisseSlug, kind: Kind, key: str, now: datetime) -> None:
    try:
        async with db.transaction(caisse) as tx:
            await _raised(tx, kind, key, now)
    except DatabaseUnavailable:
        # The revocation itself is committed; only a token read while it was may live its few minutes.
        log.warning("floors.not_dated_again", kind=kind, key=key)

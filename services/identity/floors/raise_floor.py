"""Power of a group, a person, a machine, a client or a session shrank: tokens of before are refused everywhere.

Here, by introspection and by whatever gives tokens; in the services, by the fact. docs/decisions/0120.
"""

from datetime import datetime
from typing import Literal
from uuid import uuid4

from libs.common.access.revocations import floor_name
from libs.common.database import outbox
from libs.common.database.transaction import Tx
from libs.common.events.identity import FloorRaised
from services.identity.floors import store

Kind = Literal["group", "actor", "cabinet", "client", "sid"]
"""A mandate's floor is its version, which its own row holds."""


async def raise_floor(tx: Tx, kind: Kind, key: str, now: datetime) -> None:
    """With the change itself, and after it: `key` is the public id that tokens carry.

    A token that is being given on the state of before is committed first, and dated before the floor; one that comes
    later is decided anew.
    """
    caisse = tx.the_caisse
    name = "/".join(floor_name(kind, key, caisse))
    await store.wait_for_tokens(tx, name)
    not_before = await store.raise_floor(tx, name, now)
    await outbox.record(tx, FloorRaised(event_id=uuid4(), at=now, kind=kind, key=key, not_before=not_before))

"""Power of a group, a person, a machine or a cabinet shrank: tokens issued before now are refused everywhere."""

from datetime import datetime
from typing import Literal
from uuid import uuid4

from libs.common.database import outbox
from libs.common.database.transaction import Tx
from libs.common.events.identity import FloorRaised


async def raise_floor(tx: Tx, kind: Literal["group", "actor", "cabinet"], key: str, now: datetime) -> None:
    """Tell the services, with the change itself; `key` is the public id that tokens carry."""
    await outbox.record(tx, FloorRaised(event_id=uuid4(), at=now, kind=kind, key=key, not_before=now))

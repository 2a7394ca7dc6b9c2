"""What time does to letters, for the worker: pairs expire. Tries are forgotten beside (`work.py`)."""

from datetime import datetime, timedelta

from libs.common.database.transaction import Tx
from services.identity.letters import store

ATTEMPTS_KEPT = timedelta(days=365)


async def sweep_letters(tx: Tx, now: datetime) -> int:
    """Expire what is past its last day, in every caisse; how many pairs that were.

    Takes the relay's transaction across caisses.
    """
    return await store.expire_pairs(tx, now)

"""What identity tells of a caisse: its name for the papers, its keys ready before the first one."""

from libs.common.database.transaction import Tx
from libs.common.events.identity import CaisseAdded
from libs.common.keys.key_encryption import KeyEncryption
from services.documents.caisses import store
from services.documents.seals.current_seal import current_seal


async def hear_of_caisse(tx: Tx, told: CaisseAdded, keys: KeyEncryption, base: str) -> None:
    """Keep the newest description, and make the caisse's authority and seal if it has none."""
    await store.write_newer(tx, told, told.at)
    await current_seal(tx, keys, base=base, now=told.at)

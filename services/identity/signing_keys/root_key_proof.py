"""The root key of this process is the one that the installation is sealed under: proven before it seals anything.

Under another, a service would answer as if it were well and sign nothing, and what it sealed meanwhile would be lost
to the right one.
"""

from typing import Final

import structlog

from libs.common.database.pool import Database
from libs.common.keys.key_encryption import KeyEncryption, SealBroken
from libs.common.runtime.settings import SettingsRefused
from libs.common.values.caisse_slug import CaisseSlug
from services.identity.caisses import store as caisses
from services.identity.signing_keys import store
from services.identity.signing_keys.sealing import open_key
from services.identity.signing_keys.store import StoredKey

log = structlog.get_logger()

ANOTHER_S: Final = (
    "La clé racine n'est pas celle de cette installation : elle n'ouvre aucune de ses clés de signature. "
    "Remettez la précédente (keys.*, docs/how-to/keep-the-root-key.md) ; rien n'a été changé."
)


async def prove_root_key(db: Database, keys: KeyEncryption) -> None:
    """Raises `SettingsRefused` when there are signing keys and `keys` opens none of them, in any caisse.

    One that opens is enough: a caisse whose keys are broken stops no other.
    """
    async with db.across_caisses() as tx:
        every = await caisses.every(tx)
    is_empty = True
    for caisse in every:
        async with db.transaction(caisse.slug) as tx:
            published = await store.published(tx)
        if any(_opens(keys, caisse.slug, key) for key in published):
            return
        is_empty = is_empty and not published
    if not is_empty:
        # Beside what is raised: a server that fails while it opens ends in a trace, where no sentence stands out.
        log.error("root_key.refused", reason=ANOTHER_S)
        raise SettingsRefused(ANOTHER_S)


def _opens(keys: KeyEncryption, caisse: CaisseSlug, key: StoredKey) -> bool:
    try:
        open_key(keys, caisse, key)
    except SealBroken:
        return False
    return True

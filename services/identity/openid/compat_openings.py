"""Whether a caisse has let plain OpenID Connect clients in (`compat`, openid.md §1): what its discovery then says."""

import time
from datetime import UTC, datetime

from libs.common.database.pool import Database
from libs.common.values.caisse_slug import CaisseSlug
from services.identity.openid import client_store

FRESH_FOR = 1.0
"""Seconds an answer is believed before the database is asked again."""


class CompatOpenings:
    """One process's view, at most a second old. Asked for caisses that exist, so that it cannot fill up."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._known: dict[CaisseSlug, tuple[float, bool]] = {}

    async def of(self, caisse: CaisseSlug) -> bool:
        """True with a compat client, an invitation to become one, or registration in compat open to all."""
        known = self._known.get(caisse)
        if known is not None and time.monotonic() - known[0] < FRESH_FOR:
            return known[1]
        opened = await client_store.compat_is_open(self._db.one_statement(caisse), caisse, datetime.now(UTC))
        self._known[caisse] = (time.monotonic(), opened)
        return opened

    def forget(self, caisse: CaisseSlug) -> None:
        """Ask again at the next use: this process has just changed it."""
        self._known.pop(caisse, None)

"""What every page of the portal is given, wired once at start."""

from collections.abc import Callable
from datetime import datetime

import httpx
from msgspec import Struct

from libs.common.access.issuer_keys import IssuerKeys
from libs.common.database.pool import Database
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.pages.environment import Pages
from libs.common.values.caisse_slug import CaisseSlug
from services.portal.caisses.brands import Brands
from services.portal.calls.services import Services
from services.portal.relying_party.client import IdentityClient
from services.portal.session.session import Session, current_session


class Portal(Struct, frozen=True):
    """The portal's means: its rows, its keys, its client at identity, the services, the pages."""

    db: Database
    keys: KeyEncryption
    http: httpx.AsyncClient
    issuer_keys: IssuerKeys
    identity: IdentityClient
    services: Services
    brands: Brands
    pages: Pages
    clock: Callable[[], datetime]
    account_base: str
    """Identity's public address, where people manage their account and their delegations."""
    verification_base: str
    """The documents service's public address, where anyone checks an attestation."""

    async def session(self, caisse: CaisseSlug, cookie: str | None) -> Session | None:
        """The session that this cookie opens at this caisse, if any."""
        if not cookie:
            return None
        async with self.db.transaction(caisse) as tx:
            return await current_session(tx, self.keys, caisse, cookie, self.clock())

"""The caisses, as identity last told them."""

from datetime import datetime

import msgspec

from libs.common.database.transaction import Tx
from libs.common.events.identity import CaisseAdded
from libs.common.values.caisse_slug import CaisseSlug


class Caisse(msgspec.Struct, frozen=True):
    """What this service prints of a caisse; `colour` is six hexadecimal digits, or empty."""

    slug: CaisseSlug
    name: str
    siren: str
    phone: str
    email: str
    website: str
    colour: str


async def find_caisse(tx: Tx, slug: CaisseSlug) -> Caisse | None:
    row = await tx.fetchrow(
        "SELECT slug, name, siren, phone, email, website, colour FROM caisse WHERE slug = $1",
        slug,
    )
    return Caisse(*row) if row else None


async def write_newer(tx: Tx, told: CaisseAdded, now: datetime) -> None:
    """Keep what identity told, unless we hold something as recent."""
    await tx.execute(
        """
        INSERT INTO caisse (slug, name, siren, address, phone, email, website, colour, version, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        ON CONFLICT (slug) DO UPDATE
           SET name = excluded.name, siren = excluded.siren, address = excluded.address, phone = excluded.phone,
               email = excluded.email, website = excluded.website, colour = excluded.colour,
               version = excluded.version, updated_at = excluded.updated_at
         WHERE caisse.version < excluded.version
        """,
        tx.the_caisse,
        told.name,
        told.siren,
        told.address,
        told.phone,
        told.email,
        told.website,
        told.colour.removeprefix("#").lower(),
        told.version,
        now,
    )

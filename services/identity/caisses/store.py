"""The caisses' SQL. The table is platform-wide: it says who the tenants are."""

import msgspec

from libs.common.database.one_statement import Reader
from libs.common.database.transaction import Row, Tx
from libs.common.values.caisse_slug import CaisseSlug
from services.identity.caisses.caisse import Caisse, CaisseSettings, OpenRegistration


def _caisse(row: Row) -> Caisse:
    return Caisse(*row)._replace(settings=msgspec.json.decode(row["settings"], type=CaisseSettings))


async def find(read: Reader, slug: CaisseSlug) -> Caisse | None:
    row = await read.fetchrow(
        """
        SELECT slug, name, network_number, siren, address, phone, email, website, mail_from,
               settings::text AS settings, created_at
          FROM caisse
         WHERE slug = $1
        """,
        slug,
    )
    return _caisse(row) if row else None


async def every(tx: Tx) -> list[Caisse]:
    """All caisses of this installation, by name."""
    rows = await tx.fetch(
        """
        SELECT slug, name, network_number, siren, address, phone, email, website, mail_from,
               settings::text AS settings, created_at
          FROM caisse
         ORDER BY name, slug
        """
    )
    return [_caisse(row) for row in rows]


async def add(tx: Tx, caisse: Caisse) -> bool:
    """Insert the row; False when the slug is taken, whose row is left as it is."""
    return bool(
        await tx.execute(
            """
            INSERT INTO caisse (slug, name, network_number, siren, address, phone, email, website,
                                mail_from, settings, created_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::text::jsonb, $11)
            ON CONFLICT (slug) DO NOTHING
            """,
            *caisse[:9],
            msgspec.json.encode(caisse.settings).decode(),
            caisse.created_at,
        )
    )


async def set_open_registration(tx: Tx, slug: CaisseSlug, choice: OpenRegistration) -> bool:
    """Only that member of the settings; False when there is no such caisse."""
    return bool(
        await tx.execute(
            """
            UPDATE caisse SET settings = settings || jsonb_build_object('open_registration', $2::text)
             WHERE slug = $1
            """,
            slug,
            choice,
        )
    )

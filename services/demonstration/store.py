"""The few rows that only a demonstration writes by itself."""

from datetime import datetime
from uuid import UUID

from libs.common.database.transaction import Tx


async def person_of(tx: Tx, person_id: UUID, email: str, full_name: str, now: datetime) -> UUID:
    """The person of this e-mail: `person_id` when it is new, else whoever had it."""
    return await tx.fetchval(
        """
        INSERT INTO person (id, email, email_key, full_name, created_at) VALUES ($1, $2, lower($2), $3, $4)
        ON CONFLICT (email_key) DO UPDATE SET full_name = excluded.full_name
        RETURNING id
        """,
        person_id,
        email,
        full_name,
        now,
    )


async def has_letters(tx: Tx) -> bool:
    """Whether this caisse has written to anyone yet."""
    return await tx.fetchval("SELECT EXISTS (SELECT FROM letter_pair)")


async def without_letters(tx: Tx, numbers: list[str]) -> list[dict[str, str]]:
    """Number and SIRET of those adhérents of `numbers` that were imported and never had a letter."""
    rows = await tx.fetch(
        """
        SELECT adherent.adherent_number, adherent.siret
          FROM unnest($1::text[]) WITH ORDINALITY AS wanted (number, rank)
          JOIN adherent ON adherent.adherent_number = wanted.number
         WHERE adherent.siret IS NOT NULL
           AND NOT EXISTS (SELECT FROM letter_pair WHERE letter_pair.adherent_id = adherent.id)
         ORDER BY wanted.rank
        """,
        numbers,
    )
    return [{"adherent_number": row["adherent_number"], "siret": row["siret"]} for row in rows]

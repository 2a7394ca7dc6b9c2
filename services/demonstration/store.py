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


async def adherents_of(tx: Tx, numbers: list[str]) -> list[UUID]:
    """Those of the adhérent numbers that were imported, in their order."""
    rows = await tx.fetch(
        """
        SELECT adherent.id
          FROM unnest($1::text[]) WITH ORDINALITY AS wanted (number, rank)
          JOIN adherent ON adherent.adherent_number = wanted.number
         ORDER BY wanted.rank
        """,
        numbers,
    )
    return [row["id"] for row in rows]

"""What the account console reads and writes beyond sign-in's rows."""

from typing import NamedTuple
from uuid import UUID

from libs.common.database.transaction import Tx


class Firm(NamedTuple):
    """A firm this person has a live account for."""

    account_id: UUID
    adherent_id: UUID
    legal_name: str
    siret: str | None
    is_administrator: bool


async def firms_of(tx: Tx, person_id: UUID) -> list[Firm]:
    rows = await tx.fetch(
        """
        SELECT account.id, adherent.id, adherent.legal_name, adherent.siret, account.is_administrator
          FROM account
          JOIN adherent ON adherent.id = account.adherent_id
         WHERE account.person_id = $1 AND account.state = 'active'
         ORDER BY adherent.legal_name, adherent.id
        """,
        person_id,
    )
    return [Firm(*row) for row in rows]


async def works_in_a_cabinet(tx: Tx, person_id: UUID) -> bool:
    return await tx.fetchval(
        "SELECT EXISTS (SELECT FROM collaborator WHERE person_id = $1 AND state = 'active')", person_id
    )


async def set_name(tx: Tx, person_id: UUID, full_name: str) -> None:
    await tx.execute("UPDATE person SET full_name = $2 WHERE id = $1", person_id, full_name)

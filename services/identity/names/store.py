"""Names of those who may have acted for one firm, and of nobody else."""

from collections.abc import Sequence
from uuid import UUID

from libs.common.database.transaction import Tx


async def people_who_acted(tx: Tx, adherent_id: UUID, person_ids: Sequence[UUID]) -> list[tuple[UUID, str]]:
    """Of these people, those of the firm or of a cabinet that ever held a mandate of it."""
    rows = await tx.fetch(
        """
        SELECT person.id, person.full_name
          FROM person
         WHERE person.id = ANY($2::uuid[])
           AND (EXISTS (SELECT FROM account
                         WHERE account.person_id = person.id
                           AND account.adherent_id = $1)
                OR EXISTS (SELECT FROM collaborator
                             JOIN mandate ON mandate.cabinet_id = collaborator.cabinet_id
                            WHERE collaborator.person_id = person.id
                              AND mandate.adherent_id = $1))
        """,
        adherent_id,
        list(person_ids),
    )
    return [(row["id"], row["full_name"]) for row in rows]


async def cabinets_that_acted(
    tx: Tx, adherent_id: UUID, cabinet_ids: Sequence[UUID]
) -> list[tuple[UUID, str]]:
    """Of these cabinets, those that ever held a mandate of the firm."""
    rows = await tx.fetch(
        """
        SELECT cabinet.id, cabinet.name
          FROM cabinet
         WHERE cabinet.id = ANY($2::uuid[])
           AND EXISTS (SELECT FROM mandate
                        WHERE mandate.cabinet_id = cabinet.id
                          AND mandate.adherent_id = $1)
        """,
        adherent_id,
        list(cabinet_ids),
    )
    return [(row["id"], row["name"]) for row in rows]


async def machines_that_acted(
    tx: Tx, adherent_id: UUID, machine_ids: Sequence[UUID]
) -> list[tuple[UUID, str]]:
    """Of these machines, those of a cabinet that ever held a mandate of the firm."""
    rows = await tx.fetch(
        """
        SELECT machine.id, machine.name
          FROM machine_client AS machine
         WHERE machine.id = ANY($2::uuid[])
           AND EXISTS (SELECT FROM mandate
                        WHERE mandate.cabinet_id = machine.cabinet_id
                          AND mandate.adherent_id = $1)
        """,
        adherent_id,
        list(machine_ids),
    )
    return [(row["id"], row["name"]) for row in rows]


async def belongs_to(tx: Tx, person_id: UUID, adherent_id: UUID) -> bool:
    """Whether the person has a live account of the firm."""
    found: bool = await tx.fetchval(
        """
        SELECT EXISTS (SELECT FROM account
                        WHERE person_id = $1
                          AND adherent_id = $2
                          AND state = 'active')
        """,
        person_id,
        adherent_id,
    )
    return found

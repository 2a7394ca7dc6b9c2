"""The machines of cabinets, in SQL: each of one caisse, joined to the client that holds its keys and its ceiling."""

from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

from libs.common.database.transaction import Row, Tx
from services.identity.delegation.store import POWER


class Machine(NamedTuple):
    """A cabinet's software at the moment of use, and how its sponsor stands now.

    `not_before`: its tokens issued until then are dead, since it changed or since its sponsor was suspended.
    """

    id: UUID
    client_id: str
    cabinet_id: UUID
    name: str
    sponsor_id: UUID
    sponsor_state: str
    membership: str
    not_before: datetime | None


class Registered(NamedTuple):
    """A machine as the caisse and its cabinet list it. `metadata` is the client's, in JSON."""

    id: UUID
    client_id: str
    state: Literal["active", "disabled"]
    name: str
    cabinet_id: UUID
    cabinet_name: str
    cabinet_siren: str
    sponsor_id: UUID
    sponsor_name: str
    sponsor_may_answer: bool
    created_at: datetime
    last_used_at: datetime | None
    metadata: str


MACHINE = """
       machine.id AS machine_id, machine.client_id AS machine_client_id, machine.cabinet_id AS machine_cabinet_id,
       machine.name AS machine_name, machine.sponsor_id, sponsor.state AS sponsor_state,
       membership.state AS membership, greatest(machine.not_before, sponsor.suspended_at) AS not_before
"""
MACHINE_JOINS = (
    """
  LEFT JOIN machine_client AS machine ON machine.client_id = client.client_id
  LEFT JOIN person AS sponsor ON sponsor.id = machine.sponsor_id
  LEFT JOIN collaborator AS membership ON membership.cabinet_id = machine.cabinet_id
                                      AND membership.person_id = machine.sponsor_id
  LEFT JOIN LATERAL ("""
    + POWER.format(mandate="$2", person="machine.sponsor_id", now="$3", today="$4")
    + """) AS power ON power.cabinet_id = machine.cabinet_id AND power.machine
"""
)
"""The machine that is the client, and what its sponsor holds under the mandate `$2` at `$3`, on the day `$4` in Paris.

Never more than the sponsor's own power, and nothing at all of another cabinet's, nor where the firm said
persons only.
"""


def machine_of(row: Row | None) -> Machine | None:
    if row is None or row["machine_id"] is None:
        return None
    return Machine(
        id=row["machine_id"],
        client_id=row["machine_client_id"],
        cabinet_id=row["machine_cabinet_id"],
        name=row["machine_name"],
        sponsor_id=row["sponsor_id"],
        sponsor_state=row["sponsor_state"],
        membership=row["membership"],
        not_before=row["not_before"],
    )


async def add(
    tx: Tx, machine_id: UUID, client_id: str, cabinet_id: UUID, name: str, sponsor_id: UUID, now: datetime
) -> bool:
    """False when the cabinet has a machine of this name."""
    return await tx.execute(
        """
        INSERT INTO machine_client (id, caisse, client_id, cabinet_id, name, sponsor_id, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (caisse, cabinet_id, name) DO NOTHING
        """,
        machine_id, tx.the_caisse, client_id, cabinet_id, name, sponsor_id, now,
    ) == 1  # fmt: skip


async def may_sponsor(tx: Tx, cabinet_id: UUID, person_id: UUID) -> bool:
    """Whether the person works for the cabinet, and is not suspended."""
    return await tx.fetchval(
        """
        SELECT EXISTS (SELECT FROM collaborator
                         JOIN person ON person.id = collaborator.person_id AND person.state = 'active'
                        WHERE collaborator.cabinet_id = $1 AND collaborator.person_id = $2
                          AND collaborator.state = 'active')
        """,
        cabinet_id, person_id,
    )  # fmt: skip


async def collaborator_by_email(tx: Tx, cabinet_id: UUID, email: str) -> UUID | None:
    return await tx.fetchval(
        """
        SELECT person.id FROM person
          JOIN collaborator ON collaborator.person_id = person.id AND collaborator.cabinet_id = $1
         WHERE person.email_key = lower($2)
        """,
        cabinet_id, email,
    )  # fmt: skip


async def change_sponsor(tx: Tx, machine_id: UUID, sponsor_id: UUID, now: datetime) -> bool:
    """False when they are the sponsor already."""
    return await tx.execute(
        """
        UPDATE machine_client SET sponsor_id = $2, not_before = $3
         WHERE id = $1 AND sponsor_id <> $2
        """,
        machine_id, sponsor_id, now,
    ) == 1  # fmt: skip


async def kill_tokens(tx: Tx, machine_id: UUID, now: datetime) -> None:
    await tx.execute("UPDATE machine_client SET not_before = $2 WHERE id = $1", machine_id, now)


async def replace_metadata(tx: Tx, machine_id: UUID, metadata: str, now: datetime) -> None:
    """The one door to a machine's metadata: `client_store.replace_metadata` passes machines over."""
    await tx.execute(
        """
        UPDATE client SET metadata = $2::text::jsonb, updated_at = $3
          FROM machine_client AS machine
         WHERE machine.id = $1 AND client.client_id = machine.client_id
        """,
        machine_id, metadata, now,
    )  # fmt: skip


REGISTERED = """
SELECT machine.id, machine.client_id, client.state, machine.name, cabinet.id, cabinet.name, cabinet.siren,
       machine.sponsor_id, person.full_name, person.state = 'active' AND membership.state = 'active',
       machine.created_at, machine.last_used_at, client.metadata::text
  FROM machine_client AS machine
  JOIN client ON client.client_id = machine.client_id
  JOIN cabinet ON cabinet.id = machine.cabinet_id
  JOIN person ON person.id = machine.sponsor_id
  JOIN collaborator AS membership ON membership.cabinet_id = machine.cabinet_id
                                 AND membership.person_id = machine.sponsor_id
"""


async def every(tx: Tx, cabinet_id: UUID | None = None) -> list[Registered]:
    """The machines of the caisse, or of one cabinet in it, disabled ones included."""
    rows = await tx.fetch(
        REGISTERED + " WHERE $1::uuid IS NULL OR cabinet.id = $1 ORDER BY cabinet.name, machine.name",
        cabinet_id,
    )
    return [Registered(*row) for row in rows]


async def find(tx: Tx, machine_id: UUID) -> Registered | None:
    row = await tx.fetchrow(REGISTERED + " WHERE machine.id = $1", machine_id)
    return Registered(*row) if row else None


async def hold(tx: Tx, machine_id: UUID) -> Registered | None:
    """As `find`, and nobody else changes the machine before the end of the transaction."""
    row = await tx.fetchrow(REGISTERED + " WHERE machine.id = $1 FOR UPDATE OF machine, client", machine_id)
    return Registered(*row) if row else None

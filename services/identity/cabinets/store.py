"""The SQL of cabinets: firms and people are platform-wide, clients belong to a caisse."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID

from libs.common.access.rights import Family, Role
from libs.common.database.transaction import Row, Tx
from services.identity.delegation.store import POWER

LONGEST_PAGE = 5000


class Cabinet(NamedTuple):
    """An accounting firm, known once for all caisses."""

    id: UUID
    siren: str
    name: str
    friendly_code: str | None
    open_to_all: bool


class Membership(NamedTuple):
    """A cabinet of one person, and what the person is there."""

    cabinet_id: UUID
    siren: str
    name: str
    role: str


async def add_cabinet(
    tx: Tx,
    cabinet_id: UUID,
    siren: str,
    name: str,
    address: Sequence[str],
    friendly_code: str,
    open_to_all: bool,
    now: datetime,
) -> UUID | None:
    """The id of the cabinet now registered; None when it was already.

    A cabinet merely noted from a former system's export has no code: it keeps its
    id and takes the rest from whoever registers it.
    """
    return await tx.fetchval(
        """
        INSERT INTO cabinet (id, siren, name, address, friendly_code, open_to_all, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (siren) DO UPDATE
           SET name = excluded.name, address = excluded.address, friendly_code = excluded.friendly_code,
               open_to_all = excluded.open_to_all
         WHERE cabinet.friendly_code IS NULL
        RETURNING id
        """,
        cabinet_id,
        siren,
        name,
        address,
        friendly_code,
        open_to_all,
        now,
    )


async def find(tx: Tx, cabinet_id: UUID) -> Cabinet | None:
    row = await tx.fetchrow(
        "SELECT id, siren, name, friendly_code, open_to_all FROM cabinet WHERE id = $1", cabinet_id
    )
    return Cabinet(*row) if row else None


async def find_active(tx: Tx, siren: str | None, friendly_code: str | None) -> Cabinet | None:
    """The registered cabinet in business of this SIREN or friendly code, unless the caisse refuses it."""
    row = await tx.fetchrow(
        """
        SELECT id, siren, name, friendly_code, open_to_all FROM cabinet
         WHERE (siren = $1 OR friendly_code = $2) AND state = 'active' AND friendly_code IS NOT NULL
           AND NOT EXISTS (SELECT FROM cabinet_denial WHERE cabinet_denial.cabinet_id = cabinet.id)
        """,
        siren,
        friendly_code,
    )
    return Cabinet(*row) if row else None


async def add_collaborator(
    tx: Tx, collaborator_id: UUID, cabinet_id: UUID, person_id: UUID, role: str, now: datetime
) -> None:
    """A person who comes back takes the new role."""
    await tx.execute(
        """
        INSERT INTO collaborator (id, cabinet_id, person_id, role, created_at)
        VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (cabinet_id, person_id) DO UPDATE SET role = excluded.role, state = 'active'
        """,
        collaborator_id,
        cabinet_id,
        person_id,
        role,
        now,
    )


async def remove_collaborator(tx: Tx, cabinet_id: UUID, person_id: UUID) -> bool:
    """Their groups end with it: coming back opens none of them. False for a stranger, and for the last owner."""
    return await tx.fetchval(
        """
        WITH leaving AS (
            UPDATE collaborator
               SET state = 'left'
             WHERE cabinet_id = $1 AND person_id = $2 AND state = 'active'
               AND (role <> 'owner' OR EXISTS (
                    SELECT FROM collaborator AS other
                     WHERE other.cabinet_id = $1 AND other.person_id <> $2
                       AND other.role = 'owner' AND other.state = 'active'))
            RETURNING id
        ), without_groups AS (
            DELETE FROM access_group_member USING leaving WHERE collaborator_id = leaving.id
        )
        SELECT EXISTS (SELECT FROM leaving)
        """,
        cabinet_id,
        person_id,
    )


async def owners_turn(tx: Tx, cabinet_id: UUID) -> None:
    """Two owners leaving at once queue here, so that one of them stays."""
    await tx.fetchval("SELECT 1 FROM cabinet WHERE id = $1 FOR NO KEY UPDATE", cabinet_id)


async def memberships(tx: Tx, person_id: UUID) -> list[Membership]:
    rows = await tx.fetch(
        """
        SELECT cabinet.id, cabinet.siren, cabinet.name, collaborator.role
          FROM collaborator
          JOIN cabinet ON cabinet.id = collaborator.cabinet_id AND cabinet.state = 'active'
         WHERE collaborator.person_id = $1 AND collaborator.state = 'active'
         ORDER BY cabinet.name, cabinet.id
        """,
        person_id,
    )
    return [Membership(*row) for row in rows]


async def add_group(
    tx: Tx,
    group_id: UUID,
    cabinet_id: UUID,
    name: str,
    scopes: Sequence[str] | None,
    ends_at: datetime | None,
    now: datetime,
) -> None:
    await tx.execute(
        """
        INSERT INTO access_group (id, cabinet_id, name, scopes, ends_at, created_at)
        VALUES ($1, $2, $3, $4, $5, $6)
        """,
        group_id,
        cabinet_id,
        name,
        scopes,
        ends_at,
        now,
    )


async def change_group(
    tx: Tx, group_id: UUID, cabinet_id: UUID, scopes: Sequence[str] | None, ends_at: datetime | None
) -> bool:
    changed = await tx.execute(
        """
        UPDATE access_group SET scopes = $3, ends_at = $4
         WHERE id = $1 AND cabinet_id = $2 AND removed_at IS NULL
        """,
        group_id,
        cabinet_id,
        scopes,
        ends_at,
    )
    return changed == 1


async def remove_group(tx: Tx, group_id: UUID, cabinet_id: UUID, now: datetime) -> bool:
    removed = await tx.execute(
        "UPDATE access_group SET removed_at = $3 WHERE id = $1 AND cabinet_id = $2 AND removed_at IS NULL",
        group_id,
        cabinet_id,
        now,
    )
    return removed == 1


async def add_members(tx: Tx, group_id: UUID, cabinet_id: UUID, person_ids: Sequence[UUID]) -> int:
    """Put people of the cabinet into its group; anybody else is passed over."""
    return await tx.execute(
        """
        INSERT INTO access_group_member (group_id, collaborator_id)
        SELECT access_group.id, collaborator.id
          FROM access_group
          JOIN collaborator ON collaborator.cabinet_id = access_group.cabinet_id
         WHERE access_group.id = $1 AND access_group.cabinet_id = $2 AND access_group.removed_at IS NULL
           AND collaborator.person_id = ANY ($3::uuid[]) AND collaborator.state = 'active'
        ON CONFLICT DO NOTHING
        """,
        group_id,
        cabinet_id,
        person_ids,
    )


async def remove_member(tx: Tx, group_id: UUID, cabinet_id: UUID, person_id: UUID) -> bool:
    removed = await tx.execute(
        """
        DELETE FROM access_group_member AS member
         USING access_group, collaborator
         WHERE member.group_id = $1
           AND access_group.id = member.group_id AND access_group.cabinet_id = $2
           AND collaborator.id = member.collaborator_id AND collaborator.person_id = $3
        """,
        group_id,
        cabinet_id,
        person_id,
    )
    return removed == 1


async def add_clients(tx: Tx, group_id: UUID, cabinet_id: UUID, adherent_ids: Sequence[UUID]) -> int:
    """Put clients of the caisse of `tx` into the group; only firms with a live mandate of this cabinet."""
    return await tx.execute(
        """
        INSERT INTO access_group_client (caisse, group_id, adherent_id)
        SELECT DISTINCT mandate.caisse, access_group.id, mandate.adherent_id
          FROM access_group
          JOIN mandate ON mandate.cabinet_id = access_group.cabinet_id
         WHERE access_group.id = $1 AND access_group.cabinet_id = $2 AND access_group.removed_at IS NULL
           AND mandate.adherent_id = ANY ($3::uuid[])
           AND mandate.state IN ('requested', 'offered', 'active', 'suspended')
        ON CONFLICT DO NOTHING
        """,
        group_id,
        cabinet_id,
        adherent_ids,
    )


async def remove_client(tx: Tx, group_id: UUID, cabinet_id: UUID, adherent_id: UUID) -> bool:
    removed = await tx.execute(
        """
        DELETE FROM access_group_client AS client
         USING access_group
         WHERE client.group_id = $1 AND client.adherent_id = $3
           AND access_group.id = client.group_id AND access_group.cabinet_id = $2
        """,
        group_id,
        cabinet_id,
        adherent_id,
    )
    return removed == 1


class Group(NamedTuple):
    id: UUID
    name: str
    scopes: list[str] | None
    ends_at: datetime | None


async def groups_of(tx: Tx, cabinet_id: UUID) -> list[Group]:
    rows = await tx.fetch(
        """
        SELECT id, name, scopes, ends_at FROM access_group
         WHERE cabinet_id = $1 AND removed_at IS NULL
         ORDER BY name, id
        """,
        cabinet_id,
    )
    return [Group(*row) for row in rows]


PORTFOLIO = (
    """
    SELECT client.legal_name, client.siren, listed.starts_on, power.*
      FROM mandate AS listed
      JOIN adherent AS client ON client.id = listed.adherent_id
     CROSS JOIN LATERAL ("""
    + POWER.format(mandate="listed.id", person="$1", now="$2", today="$3")
    + """) AS power
     WHERE listed.cabinet_id = $4
       AND listed.state = 'active'
       AND ($5 = '' OR position(lower($5) IN lower(client.legal_name)) > 0
            OR client.siren = $5 OR client.adherent_number = $5)
     ORDER BY lower(client.legal_name), client.id, listed.family
     LIMIT $6 OFFSET $7
    """
)
"""The clients this person may act for, each with the power it has: what an exchange would grant now."""


async def portfolio(
    tx: Tx,
    person_id: UUID,
    cabinet_id: UUID,
    search: str,
    now: datetime,
    today: date,
    limit: int,
    offset: int,
) -> list[Row]:
    return await tx.fetch(PORTFOLIO, person_id, now, today, cabinet_id, search, limit, offset)


class Waiting(NamedTuple):
    """A mandate between an offer or a request and its answer, as the cabinet lists it."""

    mandate_id: UUID
    state: str
    family: Family
    role: Role
    legal_name: str
    siren: str | None
    adherent_number: str
    answer_by: datetime


SEES = """
EXISTS (SELECT FROM collaborator
          JOIN cabinet ON cabinet.id = collaborator.cabinet_id
         WHERE collaborator.person_id = $1 AND collaborator.cabinet_id = mandate.cabinet_id
           AND collaborator.state = 'active'
           AND (collaborator.role IN ('owner', 'admin') OR cabinet.open_to_all
                OR EXISTS (SELECT FROM access_group_member AS member
                             JOIN access_group ON access_group.id = member.group_id
                             JOIN access_group_client AS client ON client.group_id = access_group.id
                            WHERE member.collaborator_id = collaborator.id
                              AND access_group.cabinet_id = cabinet.id
                              AND client.adherent_id = mandate.adherent_id
                              AND access_group.removed_at IS NULL
                              AND (access_group.ends_at IS NULL OR access_group.ends_at > $2))))
"""
"""A client in no group of a colleague is invisible to them, whatever the state of its mandate
(delegation.md §5); those who answer for the cabinet see them all. `$1` the person, `$2` now."""


async def sees(tx: Tx, person_id: UUID, mandate_id: UUID, now: datetime) -> bool:
    """Whether this colleague may know of this mandate."""
    return bool(
        await tx.fetchval(
            f"SELECT {SEES} FROM mandate WHERE mandate.id = $3",
            person_id,
            now,
            mandate_id,
        )
    )


async def waiting(tx: Tx, cabinet_id: UUID, person_id: UUID, now: datetime) -> list[Waiting]:
    """What the cabinet has to answer, or awaits an answer to, as far as this colleague may know of it."""
    rows = await tx.fetch(
        f"""
        SELECT mandate.id, mandate.state, mandate.family, mandate.role, adherent.legal_name, adherent.siren,
               adherent.adherent_number, mandate.answer_by
          FROM mandate
          JOIN adherent ON adherent.id = mandate.adherent_id
         WHERE mandate.cabinet_id = $3 AND mandate.state IN ('offered', 'requested') AND mandate.answer_by > $2
           AND {SEES}
         ORDER BY mandate.answer_by, mandate.id
        """,
        person_id,
        now,
        cabinet_id,
    )
    return [Waiting(*row) for row in rows]

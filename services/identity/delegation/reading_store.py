"""The SQL of what pages and answers show of delegations; it changes nothing."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from libs.common.database.transaction import Row, Tx
from services.identity.delegation.mandate import Mandate
from services.identity.delegation.store import MANDATE, read_mandate


class OwnAccount(NamedTuple):
    """One firm of one person, and what the person is there."""

    adherent_id: UUID
    adherent_number: str
    legal_name: str
    siren: str | None
    is_administrator: bool
    rights: list[str]


class FirmPerson(NamedTuple):
    full_name: str
    email: str
    is_administrator: bool
    state: str


class Place(NamedTuple):
    id: UUID
    name: str
    siret: str | None


class Listed(NamedTuple):
    """A mandate with the names of its parties."""

    mandate: Mandate
    cabinet_name: str
    cabinet_siren: str
    firm_name: str
    firm_siren: str | None
    adherent_number: str


class VersionLine(NamedTuple):
    version: int
    event: str
    at: datetime
    side: str
    person_name: str | None


class ActLine(NamedTuple):
    """What a collaborator, or a machine of the cabinet, did under the mandate."""

    at: datetime
    person_name: str | None
    machine_name: str | None
    action: str
    object: str


class Known(NamedTuple):
    id: UUID
    email: str
    full_name: str


async def person(tx: Tx, person_id: UUID) -> Known | None:
    row = await tx.fetchrow("SELECT id, email, full_name FROM person WHERE id = $1", person_id)
    return Known(*row) if row else None


async def accounts_of(tx: Tx, person_id: UUID) -> list[OwnAccount]:
    rows = await tx.fetch(
        """
        SELECT account.adherent_id, adherent.adherent_number, adherent.legal_name, adherent.siren,
               account.is_administrator, account.rights
          FROM account
          JOIN adherent ON adherent.id = account.adherent_id
         WHERE account.person_id = $1 AND account.state = 'active'
         ORDER BY lower(adherent.legal_name), adherent.id
        """,
        person_id,
    )
    return [OwnAccount(*row) for row in rows]


async def people_of(tx: Tx, adherent_id: UUID) -> list[FirmPerson]:
    rows = await tx.fetch(
        """
        SELECT person.full_name, person.email, account.is_administrator, account.state
          FROM account
          JOIN person ON person.id = account.person_id
         WHERE account.adherent_id = $1 AND account.state IN ('active', 'frozen')
         ORDER BY account.is_administrator DESC, lower(person.full_name), person.id
        """,
        adherent_id,
    )
    return [FirmPerson(*row) for row in rows]


async def places_of(tx: Tx, adherent_id: UUID) -> list[Place]:
    """The firm's establishments, the head office first."""
    rows = await tx.fetch(
        """
        SELECT id, name, siret FROM establishment
         WHERE adherent_id = $1
         ORDER BY is_head_office DESC, name, id
        """,
        adherent_id,
    )
    return [Place(*row) for row in rows]


_LISTED = (
    "SELECT "
    + MANDATE
    + """,
       cabinet.name AS cabinet_name, cabinet.siren AS cabinet_siren,
       adherent.legal_name AS firm_name, adherent.siren AS firm_siren, adherent.adherent_number
  FROM mandate
  JOIN cabinet ON cabinet.id = mandate.cabinet_id
  JOIN adherent ON adherent.id = mandate.adherent_id
"""
)


def _read(row: Row) -> Listed:
    return Listed(
        read_mandate(row),
        row["cabinet_name"],
        row["cabinet_siren"],
        row["firm_name"],
        row["firm_siren"],
        row["adherent_number"],
    )


async def listed(tx: Tx, mandate_id: UUID) -> Listed | None:
    row = await tx.fetchrow(_LISTED + " WHERE mandate.id = $1", mandate_id)
    return _read(row) if row else None


async def of_adherent(tx: Tx, adherent_id: UUID) -> list[Listed]:
    """Every mandate the firm gave, was asked for, or had in the former system; newest first."""
    rows = await tx.fetch(
        _LISTED + " WHERE mandate.adherent_id = $1 ORDER BY mandate.state_at DESC, mandate.id DESC LIMIT 500",
        adherent_id,
    )
    return [_read(row) for row in rows]


async def of_gesture(tx: Tx, gesture_id: UUID) -> list[Listed]:
    """The mandates of one gesture: two at most."""
    rows = await tx.fetch(_LISTED + " WHERE mandate.gesture_id = $1 ORDER BY mandate.family", gesture_id)
    return [_read(row) for row in rows]


async def principals_in_force(tx: Tx, adherent_id: UUID, families: Sequence[str]) -> list[Listed]:
    """The principals whom new ones of these families would replace."""
    rows = await tx.fetch(
        _LISTED
        + """
         WHERE mandate.adherent_id = $1 AND mandate.family = ANY ($2::text[])
           AND mandate.role = 'principal' AND mandate.state IN ('active', 'suspended')
         ORDER BY mandate.family
        """,
        adherent_id,
        families,
    )
    return [_read(row) for row in rows]


async def history(tx: Tx, mandate_id: UUID) -> list[VersionLine]:
    rows = await tx.fetch(
        """
        SELECT told.version, told.event, told.at, told.side, person.full_name
          FROM mandate_version AS told
          LEFT JOIN person ON person.id = told.person_id
         WHERE told.mandate_id = $1
         ORDER BY told.version DESC
        """,
        mandate_id,
    )
    return [VersionLine(*row) for row in rows]


async def acts(tx: Tx, mandate_id: UUID, limit: int) -> list[ActLine]:
    rows = await tx.fetch(
        """
        SELECT act.at, person.full_name, machine.name, act.action, act.object
          FROM mandate_act AS act
          LEFT JOIN person ON person.id = act.person_id
          LEFT JOIN machine_client AS machine ON machine.id = act.machine_id
         WHERE act.mandate_id = $1
         ORDER BY act.at DESC, act.event_id
         LIMIT $2
        """,
        mandate_id,
        limit,
    )
    return [ActLine(*row) for row in rows]

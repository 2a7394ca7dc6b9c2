"""Members and their establishments, as identity last told them."""

from collections.abc import Sequence
from datetime import date, datetime
from uuid import UUID

import msgspec

from libs.common.database.transaction import Tx
from libs.common.events.identity import AdherentImported, ImportedEstablishment


class Member(msgspec.Struct, frozen=True):
    """An employer of the caisse. `siren` is absent for a foreign firm without one."""

    id: UUID
    adherent_number: str
    siren: str | None
    siret: str | None
    legal_name: str
    address: list[str]
    state: str
    version: int


class Establishment(msgspec.Struct, frozen=True):
    """A place of work; open while `closed_on` is absent."""

    id: UUID
    siret: str | None
    name: str
    address: list[str]
    is_head_office: bool
    opened_on: date | None
    closed_on: date | None


async def find_member(tx: Tx, member_id: UUID) -> Member | None:
    row = await tx.fetchrow(
        """
        SELECT id, adherent_number, siren, siret, legal_name, address, state, version
          FROM member
         WHERE id = $1
        """,
        member_id,
    )
    return Member(*row) if row else None


async def establishments_of(tx: Tx, member_id: UUID) -> list[Establishment]:
    """Head office first, then by SIRET."""
    rows = await tx.fetch(
        """
        SELECT id, siret, name, address, is_head_office, opened_on, closed_on
          FROM establishment
         WHERE member_id = $1
         ORDER BY is_head_office DESC, siret, id
        """,
        member_id,
    )
    return [Establishment(*row) for row in rows]


async def write_newer(tx: Tx, told: AdherentImported, now: datetime) -> bool:
    """Keep the file identity told, unless we hold one as recent: False, and nothing changes."""
    written = await tx.execute(
        """
        INSERT INTO member (caisse, id, adherent_number, siren, siret, legal_name, address, state, version,
                            updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        ON CONFLICT (caisse, id) DO UPDATE
           SET adherent_number = excluded.adherent_number, siren = excluded.siren, siret = excluded.siret,
               legal_name = excluded.legal_name, address = excluded.address, state = excluded.state,
               version = excluded.version, updated_at = excluded.updated_at
         WHERE member.version < excluded.version
        """,
        tx.the_caisse,
        told.adherent_id,
        told.adherent_number,
        told.siren,
        told.siret,
        told.legal_name,
        told.address,
        told.state,
        told.version,
        now,
    )
    return written == 1


async def write_establishments(tx: Tx, member_id: UUID, told: Sequence[ImportedEstablishment]) -> None:
    await tx.executemany(
        """
        INSERT INTO establishment (caisse, id, member_id, siret, name, address, is_head_office, opened_on, closed_on)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        ON CONFLICT (caisse, id) DO UPDATE
           SET member_id = excluded.member_id, siret = excluded.siret, name = excluded.name,
               address = excluded.address, is_head_office = excluded.is_head_office,
               opened_on = excluded.opened_on, closed_on = excluded.closed_on
        """,
        [
            (
                tx.the_caisse,
                site.establishment_id,
                member_id,
                site.siret,
                site.name,
                site.address,
                site.is_head_office,
                site.opened_on,
                site.closed_on,
            )
            for site in told
        ],
    )


async def drop_other_establishments(tx: Tx, member_id: UUID, kept: Sequence[UUID]) -> None:
    """The told file is whole: an establishment it no longer names was entered by mistake."""
    await tx.execute(
        "DELETE FROM establishment WHERE member_id = $1 AND NOT id = ANY($2::uuid[])",
        member_id,
        list(kept),
    )

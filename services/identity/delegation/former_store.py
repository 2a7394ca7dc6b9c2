"""The SQL of former authorisations: thousands at once, in a handful of statements."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID

from libs.common.access.rights import Family
from libs.common.database.transaction import Tx


class Unmet(NamedTuple):
    cabinet_siren: str
    cabinet_name: str


class Former(NamedTuple):
    """An imported authorisation that no mandate recalls yet."""

    former_id: UUID
    adherent_id: UUID
    cabinet_id: UUID
    cabinet_siren: str
    granted_on: date | None


class Recalled(NamedTuple):
    mandate_id: UUID
    gesture_id: UUID
    adherent_id: UUID
    cabinet_id: UUID
    cabinet_siren: str
    reference: str
    label: str


async def unmet_cabinets(tx: Tx, adherent_ids: Sequence[UUID]) -> list[Unmet]:
    rows = await tx.fetch(
        """
        SELECT DISTINCT ON (former.cabinet_siren) former.cabinet_siren, former.cabinet_name
          FROM former_authorisation AS former
         WHERE former.adherent_id = ANY ($1::uuid[])
           AND NOT EXISTS (SELECT FROM cabinet WHERE cabinet.siren = former.cabinet_siren)
         ORDER BY former.cabinet_siren, former.id
        """,
        adherent_ids,
    )
    return [Unmet(*row) for row in rows]


async def note_cabinets(tx: Tx, cabinets: Sequence[tuple[UUID, str, str]], now: datetime) -> None:
    """Note cabinets by SIREN and name; without a friendly code they are not registered."""
    await tx.execute(
        """
        INSERT INTO cabinet (id, siren, name, created_at)
        SELECT id, siren, name, $4
          FROM unnest($1::uuid[], $2::text[], $3::text[]) AS noted (id, siren, name)
        ON CONFLICT (siren) DO NOTHING
        """,
        [cabinet[0] for cabinet in cabinets],
        [cabinet[1] for cabinet in cabinets],
        [cabinet[2] for cabinet in cabinets],
        now,
    )


async def not_recalled(tx: Tx, family: Family, adherent_ids: Sequence[UUID]) -> list[Former]:
    rows = await tx.fetch(
        """
        SELECT former.id, former.adherent_id, cabinet.id, former.cabinet_siren, former.granted_on
          FROM former_authorisation AS former
          JOIN cabinet ON cabinet.siren = former.cabinet_siren
         WHERE former.adherent_id = ANY ($2::uuid[])
           AND NOT EXISTS (
               SELECT FROM mandate
                WHERE mandate.caisse = former.caisse
                  AND mandate.former_reference = former.id::text
                  AND mandate.family = $1)
         ORDER BY former.id
        """,
        family,
        adherent_ids,
    )
    return [Former(*row) for row in rows]


async def begin(tx: Tx, recalled: Sequence[Recalled], family: Family, now: datetime) -> None:
    await tx.execute(
        """
        INSERT INTO mandate (caisse, id, adherent_id, cabinet_id, family, role, state, version, scopes,
                             establishments, gesture_id, former_reference, former_label, created_at, state_at)
        SELECT $1, id, adherent_id, cabinet_id, $2, 'observer', 'legacy_lapsed', 1, '{}', '{*}',
               gesture_id, reference, label, $3, $3
          FROM unnest($4::uuid[], $5::uuid[], $6::uuid[], $7::uuid[], $8::text[], $9::text[])
               AS former (id, gesture_id, adherent_id, cabinet_id, reference, label)
        """,
        tx.the_caisse,
        family,
        now,
        [one.mandate_id for one in recalled],
        [one.gesture_id for one in recalled],
        [one.adherent_id for one in recalled],
        [one.cabinet_id for one in recalled],
        [one.reference for one in recalled],
        [one.label for one in recalled],
    )


async def keep_versions(tx: Tx, recalled: Sequence[Recalled], now: datetime) -> None:
    """The first version of each, as it was written."""
    await tx.execute(
        """
        INSERT INTO mandate_version (caisse, mandate_id, version, event, at, side, terms)
        SELECT mandate.caisse, mandate.id, mandate.version, 'imported', $2, 'import',
               to_jsonb(mandate) - 'caisse'
          FROM mandate
         WHERE mandate.id = ANY ($1::uuid[])
        """,
        [one.mandate_id for one in recalled],
        now,
    )

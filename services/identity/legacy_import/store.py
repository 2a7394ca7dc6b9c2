"""Set-based writes of an import: one statement for a batch, whatever its size."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID

import msgspec

from libs.common.database.transaction import Tx
from libs.common.legacy_export.verdict import Verdict
from libs.common.values.identifiers import new_id


class KnownAdherent(NamedTuple):
    """A member firm as an earlier import left it."""

    id: UUID
    adherent_number: str
    siren: str | None
    siret: str | None
    legal_name: str
    address: list[str]
    state: str
    version: int


class KnownEstablishment(NamedTuple):
    id: UUID
    adherent_id: UUID
    siret: str | None
    name: str
    address: list[str]
    is_head_office: bool
    opened_on: date | None
    closed_on: date | None


class KnownContact(NamedTuple):
    id: UUID
    adherent_id: UUID
    full_name: str
    role: str
    email: str
    phone: str


class KnownAuthorisation(NamedTuple):
    id: UUID
    adherent_id: UUID
    cabinet_siren: str
    cabinet_name: str
    granted_on: date | None
    source_line: int


async def has_caisse(tx: Tx) -> bool:
    return await tx.fetchval("SELECT true FROM caisse WHERE slug = $1", tx.the_caisse) is True


async def one_import_at_a_time(tx: Tx) -> None:
    """Held until the end of the transaction: two imports of one caisse take turns by batch."""
    await tx.execute("SELECT pg_advisory_xact_lock(hashtext('legacy_import/' || $1::text))", tx.the_caisse)


async def known_adherents(tx: Tx, numbers: Sequence[str]) -> list[KnownAdherent]:
    rows = await tx.fetch(
        """
        SELECT id, adherent_number, siren, siret, legal_name, address, state, version
          FROM adherent
         WHERE adherent_number = ANY ($1::text[])
        """,
        numbers,
    )
    return [KnownAdherent(*row) for row in rows]


async def known_sirens(tx: Tx, after: str, limit: int) -> list[tuple[str, str]]:
    """Numbers and SIRENs of the caisse, in the order of the numbers, from the one that follows `after`."""
    rows = await tx.fetch(
        """
        SELECT adherent_number, siren
          FROM adherent
         WHERE adherent_number > $1 AND siren IS NOT NULL
         ORDER BY adherent_number
         LIMIT $2
        """,
        after,
        limit,
    )
    return [(row["adherent_number"], row["siren"]) for row in rows]


async def known_establishments(tx: Tx, adherent_ids: Sequence[UUID]) -> list[KnownEstablishment]:
    rows = await tx.fetch(
        """
        SELECT id, adherent_id, siret, name, address, is_head_office, opened_on, closed_on
          FROM establishment
         WHERE adherent_id = ANY ($1::uuid[])
        """,
        adherent_ids,
    )
    return [KnownEstablishment(*row) for row in rows]


async def write_adherents(tx: Tx, adherents: Sequence[KnownAdherent], now: datetime) -> None:
    """Insert the new ones, replace the changed ones."""
    await tx.execute(
        """
        INSERT INTO adherent (id, caisse, adherent_number, siren, siret, legal_name, address, state, version,
                              imported_at)
        SELECT id, $1, adherent_number, siren, siret, legal_name, string_to_array(address, E'\\n'), state, version, $2
          FROM unnest($3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::int[])
               AS row (id, adherent_number, siren, siret, legal_name, address, state, version)
        ON CONFLICT (id) DO UPDATE
           SET siren = excluded.siren, siret = excluded.siret, legal_name = excluded.legal_name,
               address = excluded.address, state = excluded.state, version = excluded.version,
               imported_at = excluded.imported_at
        """,
        tx.the_caisse,
        now,
        [adherent.id for adherent in adherents],
        [adherent.adherent_number for adherent in adherents],
        [adherent.siren for adherent in adherents],
        [adherent.siret for adherent in adherents],
        [adherent.legal_name for adherent in adherents],
        ["\n".join(adherent.address) for adherent in adherents],
        [adherent.state for adherent in adherents],
        [adherent.version for adherent in adherents],
    )


async def write_establishments(tx: Tx, establishments: Sequence[KnownEstablishment]) -> None:
    """Insert the new ones, replace the changed ones."""
    await tx.execute(
        """
        INSERT INTO establishment (id, caisse, adherent_id, siret, name, address, is_head_office, opened_on, closed_on)
        SELECT id, $1, adherent_id, siret, name, string_to_array(address, E'\\n'), is_head_office, opened_on, closed_on
          FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::boolean[], $8::date[], $9::date[])
               AS row (id, adherent_id, siret, name, address, is_head_office, opened_on, closed_on)
        ON CONFLICT (id) DO UPDATE
           SET siret = excluded.siret, name = excluded.name, address = excluded.address,
               is_head_office = excluded.is_head_office, opened_on = excluded.opened_on,
               closed_on = excluded.closed_on
        """,
        tx.the_caisse,
        [establishment.id for establishment in establishments],
        [establishment.adherent_id for establishment in establishments],
        [establishment.siret for establishment in establishments],
        [establishment.name for establishment in establishments],
        ["\n".join(establishment.address) for establishment in establishments],
        [establishment.is_head_office for establishment in establishments],
        [establishment.opened_on for establishment in establishments],
        [establishment.closed_on for establishment in establishments],
    )


async def write_contacts(tx: Tx, contacts: Sequence[KnownContact]) -> tuple[int, int]:
    """Insert or update; how many were inserted, and how many changed."""
    rows = await tx.fetch(
        """
        INSERT INTO former_contact AS known (id, caisse, adherent_id, full_name, role, email, phone)
        SELECT id, $1, adherent_id, full_name, role, email, phone
          FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[])
               AS row (id, adherent_id, full_name, role, email, phone)
        ON CONFLICT (caisse, adherent_id, full_name) DO UPDATE
           SET role = excluded.role, email = excluded.email, phone = excluded.phone
         WHERE (known.role, known.email, known.phone)
               IS DISTINCT FROM (excluded.role, excluded.email, excluded.phone)
        RETURNING known.id
        """,
        tx.the_caisse,
        [contact.id for contact in contacts],
        [contact.adherent_id for contact in contacts],
        [contact.full_name for contact in contacts],
        [contact.role for contact in contacts],
        [contact.email for contact in contacts],
        [contact.phone for contact in contacts],
    )
    inserted = len({row["id"] for row in rows} & {contact.id for contact in contacts})
    return inserted, len(rows) - inserted


async def write_authorisations(tx: Tx, authorisations: Sequence[KnownAuthorisation]) -> tuple[int, int]:
    """Insert or update; how many were inserted, and how many changed. A moved line is no change."""
    rows = await tx.fetch(
        """
        INSERT INTO former_authorisation AS known
               (id, caisse, adherent_id, cabinet_siren, cabinet_name, granted_on, source_line)
        SELECT id, $1, adherent_id, cabinet_siren, cabinet_name, granted_on, source_line
          FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::date[], $7::int[])
               AS row (id, adherent_id, cabinet_siren, cabinet_name, granted_on, source_line)
        ON CONFLICT (caisse, adherent_id, cabinet_siren) DO UPDATE
           SET cabinet_name = excluded.cabinet_name, granted_on = excluded.granted_on,
               source_line = excluded.source_line
         WHERE (known.cabinet_name, known.granted_on) IS DISTINCT FROM (excluded.cabinet_name, excluded.granted_on)
        RETURNING known.id
        """,
        tx.the_caisse,
        [authorisation.id for authorisation in authorisations],
        [authorisation.adherent_id for authorisation in authorisations],
        [authorisation.cabinet_siren for authorisation in authorisations],
        [authorisation.cabinet_name for authorisation in authorisations],
        [authorisation.granted_on for authorisation in authorisations],
        [authorisation.source_line for authorisation in authorisations],
    )
    inserted = len({row["id"] for row in rows} & {authorisation.id for authorisation in authorisations})
    return inserted, len(rows) - inserted


async def start_run(tx: Tx, run_id: UUID, now: datetime) -> None:
    await tx.execute(
        "INSERT INTO import_run (id, caisse, started_at) VALUES ($1, $2, $3)", run_id, tx.the_caisse, now
    )


async def write_verdicts(tx: Tx, run_id: UUID, verdicts: Sequence[Verdict]) -> None:
    await tx.execute(
        """
        INSERT INTO import_verdict (id, caisse, run_id, file, line, column_name, outcome, code, reason)
        SELECT id, $1, $2, file, line, column_name, outcome, code, reason
          FROM unnest($3::uuid[], $4::text[], $5::int[], $6::text[], $7::text[], $8::text[], $9::text[])
               AS row (id, file, line, column_name, outcome, code, reason)
        """,
        tx.the_caisse,
        run_id,
        [new_id() for _ in verdicts],
        [verdict.file for verdict in verdicts],
        [verdict.line for verdict in verdicts],
        [verdict.column for verdict in verdicts],
        [verdict.outcome.value for verdict in verdicts],
        [verdict.code for verdict in verdicts],
        [verdict.reason for verdict in verdicts],
    )


async def finish_run(tx: Tx, run_id: UUID, counts: object, now: datetime) -> None:
    await tx.execute(
        "UPDATE import_run SET finished_at = $2, counts = $3::text::jsonb WHERE id = $1",
        run_id,
        now,
        msgspec.json.encode(counts).decode(),
    )

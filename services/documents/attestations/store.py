"""The rows of an attestation: reserved, numbered, sealed; each step one conditional statement."""

from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID

import msgspec

from libs.common.database.transaction import Row, Tx
from libs.common.events.documents import ActedBy
from libs.common.values.caisse_slug import CaisseSlug


class Attestation(msgspec.Struct, frozen=True, kw_only=True):
    """One attestation, wherever it has got to. Columns in clear; `draft` and `payload` are ciphertext."""

    id: UUID
    adherent_id: UUID
    kind: str
    as_of: date
    state: str
    status: str
    status_changed_at: datetime | None
    status_reason: str | None
    replaces: UUID | None
    status_index: int
    draft: bytes
    reserved_at: datetime
    year: int | None
    number: int | None
    payload: bytes | None
    issued_at: datetime | None
    seal_sequence: int | None
    byte_range_digest: bytes | None
    file_path: str | None
    file_size: int | None
    sealed_at: datetime | None
    by: ActedBy


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """What the first step writes down."""

    id: UUID
    adherent_id: UUID
    kind: str
    as_of: date
    data_hash: bytes
    code_mac: bytes
    status_list: int
    status_index: int
    draft: bytes
    replaces: UUID | None
    by: ActedBy


class SealedFile(msgspec.Struct, frozen=True, kw_only=True):
    """What the last step writes down."""

    template: str
    cms: bytes
    byte_range_digest: bytes
    file_path: str
    file_size: int


_COLUMNS = """id, adherent_id, kind, as_of, state, status, status_changed_at, status_reason, replaces, status_index,
       draft, reserved_at, year, number, payload, issued_at, seal_sequence, byte_range_digest, file_path, file_size,
       sealed_at, client_id, person_id, cabinet_id, mandate_id, mandate_version, token_jti,
       machine_id, sponsor_id"""
_ACTED_BY = ("client_id", "person_id", "cabinet_id", "mandate_id", "mandate_version", "token_jti",
             "machine_id", "sponsor_id")  # fmt: skip


def _read(row: Row | None) -> Attestation | None:
    if row is None:
        return None
    fields = dict(row)
    by = ActedBy(**{name: fields.pop(name) for name in _ACTED_BY})
    return Attestation(**fields, by=by)


async def find(tx: Tx, attestation_id: UUID) -> Attestation | None:
    return _read(await tx.fetchrow(f"SELECT {_COLUMNS} FROM attestation WHERE id = $1", attestation_id))


async def find_by_request(tx: Tx, adherent_id: UUID, request_key: str) -> tuple[UUID, str] | None:
    """The attestation this request key already gave, and the kind it was asked for."""
    row = await tx.fetchrow(
        "SELECT attestation_id, kind FROM attestation_request WHERE adherent_id = $1 AND request_key = $2",
        adherent_id,
        request_key,
    )
    return (row[0], row[1]) if row else None


async def find_by_code(tx: Tx, code_mac: bytes) -> Attestation | None:
    """The sealed attestation of this caisse that bears the code, whatever its status."""
    return _read(
        await tx.fetchrow(
            f"SELECT {_COLUMNS} FROM attestation WHERE code_mac = $1 AND state = 'sealed'",
            code_mac,
        )
    )


async def find_by_digest(tx: Tx, byte_range_digest: bytes) -> Attestation | None:
    """The attestation whose file has this ByteRange digest."""
    return _read(
        await tx.fetchrow(
            f"SELECT {_COLUMNS} FROM attestation WHERE byte_range_digest = $1 AND state = 'sealed'",
            byte_range_digest,
        )
    )


async def of_adherent(tx: Tx, adherent_id: UUID, limit: int) -> list[Attestation]:
    """Sealed ones, newest first."""
    rows = await tx.fetch(
        f"""
        SELECT {_COLUMNS}
          FROM attestation
         WHERE adherent_id = $1 AND state = 'sealed'
         ORDER BY reserved_at DESC, id DESC
         LIMIT $2
        """,
        adherent_id,
        limit,
    )
    return [found for row in rows if (found := _read(row))]


async def claim_request(
    tx: Tx, adherent_id: UUID, request_key: str, kind: str, attestation_id: UUID, now: datetime
) -> bool:
    """Bind the key to an attestation about to exist; False when another request holds it."""
    claimed = await tx.execute(
        """
        INSERT INTO attestation_request (caisse, adherent_id, request_key, kind, attestation_id, requested_at)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (caisse, adherent_id, request_key) DO NOTHING
        """,
        tx.the_caisse,
        adherent_id,
        request_key,
        kind,
        attestation_id,
        now,
    )
    return claimed == 1


async def point_request_at(tx: Tx, adherent_id: UUID, request_key: str, attestation_id: UUID) -> None:
    await tx.execute(
        "UPDATE attestation_request SET attestation_id = $3 WHERE adherent_id = $1 AND request_key = $2",
        adherent_id,
        request_key,
        attestation_id,
    )


async def reserve(tx: Tx, reservation: Reservation, now: datetime) -> bool:
    """Write the reserved row; False when the same facts are already attested, or the index is taken."""
    by = reservation.by
    reserved = await tx.execute(
        """
        INSERT INTO attestation (caisse, id, adherent_id, kind, as_of, data_hash, code_mac, status_index, draft,
                                 replaces, reserved_at, client_id, person_id, cabinet_id, mandate_id,
                                 mandate_version, token_jti, machine_id, sponsor_id, status_list)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)
        ON CONFLICT DO NOTHING
        """,
        tx.the_caisse,
        reservation.id,
        reservation.adherent_id,
        reservation.kind,
        reservation.as_of,
        reservation.data_hash,
        reservation.code_mac,
        reservation.status_index,
        reservation.draft,
        reservation.replaces,
        now,
        by.client_id,
        by.person_id,
        by.cabinet_id,
        by.mandate_id,
        by.mandate_version,
        by.token_jti,
        by.machine_id,
        by.sponsor_id,
        reservation.status_list,
    )
    return reserved == 1


async def lead_code_here(tx: Tx, code_mac: bytes) -> None:
    """Let a QR code, whose address names no caisse, find this one."""
    await tx.execute(
        "INSERT INTO verification_address (code_mac, caisse) VALUES ($1, $2)", code_mac, tx.the_caisse
    )


async def caisse_of_code(tx: Tx, code_mac: bytes) -> CaisseSlug | None:
    return await tx.fetchval("SELECT caisse FROM verification_address WHERE code_mac = $1", code_mac)


async def live_of_same_facts(
    tx: Tx, adherent_id: UUID, kind: str, as_of: date, data_hash: bytes
) -> UUID | None:
    return await tx.fetchval(
        """
        SELECT id
          FROM attestation
         WHERE adherent_id = $1 AND kind = $2 AND as_of = $3 AND data_hash = $4
           AND status IN ('valid', 'to_reconfirm')
        """,
        adherent_id,
        kind,
        as_of,
        data_hash,
    )


async def live_of_same_day(tx: Tx, adherent_id: UUID, kind: str, as_of: date) -> UUID | None:
    """The sealed one of that day which a paper with other facts (a corrected name) will replace."""
    return await tx.fetchval(
        """
        SELECT id
          FROM attestation
         WHERE adherent_id = $1 AND kind = $2 AND as_of = $3 AND state = 'sealed'
           AND status IN ('valid', 'to_reconfirm')
         ORDER BY sealed_at DESC
         LIMIT 1
        """,
        adherent_id,
        kind,
        as_of,
    )


async def hold_reserved(tx: Tx, attestation_id: UUID) -> bool:
    """Lock the row while it is numbered; False when somebody numbered it already."""
    held = await tx.fetchval(
        "SELECT true FROM attestation WHERE id = $1 AND state = 'reserved' FOR UPDATE", attestation_id
    )
    return bool(held)


async def take_number(tx: Tx, year: int) -> int:
    """The caisse's next number of the year. It is given back if the transaction does not commit."""
    return await tx.fetchval(
        """
        INSERT INTO attestation_counter AS counter (caisse, year, last_number) VALUES ($1, $2, 1)
        ON CONFLICT (caisse, year) DO UPDATE SET last_number = counter.last_number + 1
        RETURNING last_number
        """,
        tx.the_caisse,
        year,
    )


async def write_number(
    tx: Tx,
    attestation_id: UUID,
    *,
    year: int,
    number: int,
    payload: bytes,
    template: str,
    seal_sequence: int,
    issued_at: datetime,
) -> None:
    await tx.execute(
        """
        UPDATE attestation
           SET state = 'numbered', year = $2, number = $3, payload = $4, template = $5, seal_sequence = $6,
               issued_at = $7
         WHERE id = $1 AND state = 'reserved'
        """,
        attestation_id,
        year,
        number,
        payload,
        template,
        seal_sequence,
        issued_at,
    )


async def write_seal(tx: Tx, attestation_id: UUID, sealed: SealedFile, now: datetime) -> bool:
    """Keep the first seal; False when the row has one already."""
    kept = await tx.execute(
        """
        UPDATE attestation
           SET state = 'sealed', template = $2, cms = $3, byte_range_digest = $4, file_path = $5, file_size = $6,
               sealed_at = $7
         WHERE id = $1 AND state = 'numbered'
        """,
        attestation_id,
        sealed.template,
        sealed.cms,
        sealed.byte_range_digest,
        sealed.file_path,
        sealed.file_size,
        now,
    )
    return kept == 1


async def change_status(tx: Tx, attestation_id: UUID, status: str, reason: str | None, now: datetime) -> bool:
    """Withdraw or replace a live attestation; False when it is no longer live."""
    changed = await tx.execute(
        """
        UPDATE attestation
           SET status = $2, status_reason = $3, status_changed_at = $4
         WHERE id = $1 AND state = 'sealed' AND status IN ('valid', 'to_reconfirm')
        """,
        attestation_id,
        status,
        reason,
        now,
    )
    return changed == 1


async def hold_same_day(tx: Tx, row: Attestation) -> None:
    """Until the end of the transaction nobody else seals a paper of this firm, kind and day."""
    await tx.execute(
        """
        SELECT id FROM attestation
         WHERE adherent_id = $1 AND kind = $2 AND as_of = $3
         ORDER BY id
           FOR UPDATE
        """,
        row.adherent_id,
        row.kind,
        row.as_of,
    )


async def retire_same_day(tx: Tx, row: Attestation, now: datetime) -> None:
    """Of the papers of this firm, kind and day, the one judged last is worth something: a sealed one that `row`
    follows is superseded, and so is `row` when a sealed one follows it.
    """
    await tx.execute(
        """
        UPDATE attestation AS older
           SET status = 'superseded', status_changed_at = $5
          FROM attestation AS newer
         WHERE older.adherent_id = $1 AND older.kind = $2 AND older.as_of = $3
           AND newer.adherent_id = $1 AND newer.kind = $2 AND newer.as_of = $3
           AND $4 IN (older.id, newer.id)
           AND older.state = 'sealed' AND newer.state = 'sealed'
           AND older.status IN ('valid', 'to_reconfirm')
           AND (older.id = newer.replaces
                OR (older.reserved_at, older.id) < (newer.reserved_at, newer.id)
                   AND newer.id IS DISTINCT FROM older.replaces)
        """,
        row.adherent_id,
        row.kind,
        row.as_of,
        row.id,
        now,
    )


class HalfWay(NamedTuple):
    """A row that a dead process left unfinished."""

    caisse: CaisseSlug
    id: UUID
    reserved_at: datetime


async def half_way(tx: Tx, before: datetime, after: HalfWay | None, limit: int) -> list[HalfWay]:
    """Across caisses, as the relay: the oldest unfinished rows that come after `after`."""
    rows = await tx.fetch(
        """
        SELECT caisse, id, reserved_at
          FROM attestation
         WHERE state <> 'sealed' AND reserved_at < $1
           AND ($2::timestamptz IS NULL OR (reserved_at, id) > ($2, $3::uuid))
         ORDER BY reserved_at, id
         LIMIT $4
        """,
        before,
        None if after is None else after.reserved_at,
        None if after is None else after.id,
        limit,
    )
    return [HalfWay(*row) for row in rows]

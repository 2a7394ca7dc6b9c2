"""The SQL of mandates: one statement a function, each of one caisse."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg
import msgspec

from libs.common.access.rights import Family
from libs.common.database.forgetting import BATCH
from libs.common.database.one_statement import Reader
from libs.common.database.transaction import Row, Tx
from libs.common.values.identifiers import public_id
from services.identity.delegation.mandate import Event, Mandate, MandateChanged, Side

POWER = """
SELECT mandate.id AS mandate_id, mandate.version AS mandate_version, mandate.adherent_id AS mandator_id,
       adherent.adherent_number AS mandator_number, mandate.family, mandate.role, mandate.scopes,
       mandate.establishments, mandate.ends_on, mandate.amount_cap_cents, mandate.machine,
       cabinet.id AS cabinet_id, cabinet.siren AS cabinet_siren,
       seen.group_id, seen.group_scopes, seen.group_ends_at
  FROM mandate
  JOIN adherent ON adherent.id = mandate.adherent_id AND adherent.state = 'member'
  JOIN cabinet ON cabinet.id = mandate.cabinet_id AND cabinet.state = 'active'
  JOIN collaborator ON collaborator.cabinet_id = cabinet.id AND collaborator.state = 'active'
  JOIN person ON person.id = collaborator.person_id AND person.state = 'active'
  LEFT JOIN LATERAL (
       SELECT access_group.id AS group_id, access_group.scopes AS group_scopes,
              access_group.ends_at AS group_ends_at
         FROM access_group_member AS member
         JOIN access_group ON access_group.id = member.group_id AND access_group.removed_at IS NULL
         JOIN access_group_client AS client ON client.group_id = access_group.id
        WHERE member.collaborator_id = collaborator.id
          AND access_group.cabinet_id = cabinet.id
          AND client.adherent_id = mandate.adherent_id
          AND (access_group.ends_at IS NULL OR access_group.ends_at > {now})
          AND NOT cabinet.open_to_all
        -- One group a token: the widest, then the oldest.
        ORDER BY cardinality(access_group.scopes) DESC NULLS FIRST, access_group.id
        LIMIT 1) AS seen ON true
 WHERE mandate.id = {mandate}
   AND collaborator.person_id = {person}
   AND mandate.state = 'active'
   AND mandate.starts_on <= {today}
   AND mandate.ends_on >= {today}
   AND (cabinet.open_to_all OR seen.group_id IS NOT NULL)
   AND NOT EXISTS (SELECT FROM cabinet_denial WHERE cabinet_denial.cabinet_id = cabinet.id)
"""
"""The power of one person under one mandate, at most one row; fill in the four expressions
(`mandate`, `person` uuid, `now` timestamptz, `today` the day in Paris) and read it with
`power.power_of`. It stands alone or as a LATERAL join, beside the adhérent of a grant."""


POWER_OF_ONE = (
    "SELECT power.* FROM (VALUES (1)) AS one LEFT JOIN LATERAL ("
    + POWER.format(mandate="$1", person="$2", now="$3", today="$4")
    + ") AS power ON true"
)


async def power(read: Reader, mandate_id: UUID, person_id: UUID, now: datetime, today: date) -> Row:
    """One row: `POWER` for this mandate and person, or all null."""
    return await read.one_row(POWER_OF_ONE, mandate_id, person_id, now, today)


MANDATE = """mandate.id, mandate.adherent_id, mandate.cabinet_id, mandate.family, mandate.role, mandate.state,
       mandate.version, mandate.scopes, mandate.establishments, mandate.starts_on, mandate.ends_on,
       mandate.amount_cap_cents, mandate.machine, mandate.document_categories, mandate.answer_by,
       mandate.suspended_by, mandate.gesture_id, mandate.previous_id, mandate.former_reference,
       mandate.former_label, mandate.proposed_by, mandate.created_at, mandate.state_at"""


def read_mandate(row: Row) -> Mandate:
    return msgspec.convert(dict(row), Mandate)


async def find(tx: Tx, mandate_id: UUID) -> Mandate | None:
    row = await tx.fetchrow(f"SELECT {MANDATE} FROM mandate WHERE id = $1", mandate_id)
    return read_mandate(row) if row else None


async def begin(tx: Tx, mandate: Mandate) -> bool:
    """Write a new mandate; False when a live one of the same cabinet and family, or its id, exists."""
    written = await tx.execute(
        """
        INSERT INTO mandate (caisse, id, adherent_id, cabinet_id, family, role, state, version, scopes,
                             establishments, starts_on, ends_on, amount_cap_cents, machine,
                             document_categories, answer_by, suspended_by, gesture_id, previous_id,
                             former_reference, former_label, proposed_by, created_at, state_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19,
                $20, $21, $22, $23, $24)
        ON CONFLICT DO NOTHING
        """,
        tx.the_caisse,
        *msgspec.structs.astuple(mandate),
    )
    return written == 1


async def advance(tx: Tx, before: Mandate, after: Mandate) -> None:
    """The compare-and-set: `after` replaces exactly `before`, or `MandateChanged`.

    Also raised when another principal of the family came into force meanwhile: the
    partial unique index decides, and the whole transaction is given up.
    """
    try:
        changed = await tx.execute(
            """
            UPDATE mandate
               SET state = $4, version = $5, role = $6, scopes = $7, establishments = $8, starts_on = $9,
                   ends_on = $10, amount_cap_cents = $11, machine = $12, document_categories = $13,
                   answer_by = $14, suspended_by = $15, gesture_id = $16, proposed_by = $17, state_at = $18
             WHERE id = $1 AND state = $2 AND version = $3
            """,
            before.id,
            before.state,
            before.version,
            after.state,
            after.version,
            after.role,
            after.scopes,
            after.establishments,
            after.starts_on,
            after.ends_on,
            after.amount_cap_cents,
            after.machine,
            after.document_categories,
            after.answer_by,
            after.suspended_by,
            after.gesture_id,
            after.proposed_by,
            after.state_at,
        )
    except asyncpg.UniqueViolationError as error:
        raise MandateChanged from error
    if changed != 1:
        raise MandateChanged


async def keep_version(
    tx: Tx,
    mandate: Mandate,
    event: Event,
    side: Side,
    person_id: UUID | None,
    now: datetime,
) -> None:
    """Add this version to the history, whole."""
    await tx.execute(
        """
        INSERT INTO mandate_version (caisse, mandate_id, version, event, at, side, person_id, terms)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8::text::jsonb)
        """,
        tx.the_caisse,
        mandate.id,
        mandate.version,
        event,
        now,
        side,
        person_id,
        msgspec.json.encode(mandate).decode(),
    )


class Command(NamedTuple):
    """A command that this person already gave under this key."""

    command: str
    mandate_ids: Sequence[UUID]
    asked: bytes


async def claim_command(
    tx: Tx,
    key: str,
    command: str,
    person_id: UUID,
    mandate_ids: Sequence[UUID],
    asked: bytes,
    now: datetime,
) -> bool:
    """Take this person's `key` for this command, whose words `asked` digests.

    A second taker waits for the first to commit, then gets False.
    """
    taken = await tx.execute(
        """
        INSERT INTO mandate_command (caisse, key, command, person_id, mandate_ids, asked, at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT DO NOTHING
        """,
        tx.the_caisse,
        key,
        command,
        person_id,
        mandate_ids,
        asked,
        now,
    )
    return taken == 1


async def command_of(tx: Tx, person_id: UUID, key: str) -> Command | None:
    row = await tx.fetchrow(
        "SELECT command, mandate_ids, asked FROM mandate_command WHERE person_id = $1 AND key = $2",
        person_id,
        key,
    )
    return Command(*row) if row else None


async def principal_in_force(tx: Tx, adherent_id: UUID, family: Family) -> Mandate | None:
    """The principal, active or suspended, whom a new one would replace."""
    row = await tx.fetchrow(
        f"""
        SELECT {MANDATE} FROM mandate
         WHERE adherent_id = $1 AND family = $2 AND role = 'principal' AND state IN ('active', 'suspended')
        """,
        adherent_id,
        family,
    )
    return read_mandate(row) if row else None


async def hold(tx: Tx, mandate_ids: Sequence[UUID]) -> None:
    """Hold mandates until the end of the transaction, in the order in which every sweep takes them: by id."""
    await tx.execute(
        "SELECT id FROM mandate WHERE id = ANY ($1::uuid[]) ORDER BY id FOR NO KEY UPDATE", mandate_ids
    )


async def live_twin(tx: Tx, adherent_id: UUID, cabinet_id: UUID, family: Family) -> Mandate | None:
    """The live mandate of this cabinet in this family, of which there is at most one."""
    row = await tx.fetchrow(
        f"""
        SELECT {MANDATE} FROM mandate
         WHERE adherent_id = $1 AND cabinet_id = $2 AND family = $3
           AND state IN ('requested', 'offered', 'active', 'suspended')
        """,
        adherent_id,
        cabinet_id,
        family,
    )
    return read_mandate(row) if row else None


async def overdue(tx: Tx, now: datetime, today: date, limit: int, adherent_id: UUID | None) -> list[Mandate]:
    """Live mandates whose clock has run out, of one adhérent or of the whole caisse."""
    rows = await tx.fetch(
        f"""
        SELECT {MANDATE} FROM mandate
         WHERE state IN ('requested', 'offered', 'active', 'suspended')
           AND (answer_by <= $1 OR (ends_on < $2 AND state IN ('active', 'suspended')))
           AND ($4::uuid IS NULL OR adherent_id = $4)
         ORDER BY id
         LIMIT $3
        """,
        now,
        today,
        limit,
        adherent_id,
    )
    return [read_mandate(row) for row in rows]


async def live_of_cabinet(tx: Tx, cabinet_id: UUID) -> list[Mandate]:
    """Held until the end of the transaction: nobody moves one between its reading and its end."""
    rows = await tx.fetch(
        f"""
        SELECT {MANDATE} FROM mandate
         WHERE cabinet_id = $1 AND state IN ('requested', 'offered', 'active', 'suspended')
         ORDER BY id
           FOR UPDATE
        """,
        cabinet_id,
    )
    return [read_mandate(row) for row in rows]


async def live_of_adherents(tx: Tx, adherent_ids: Sequence[UUID]) -> list[Mandate]:
    """Held until the end of the transaction: nobody moves one between its reading and its end."""
    rows = await tx.fetch(
        f"""
        SELECT {MANDATE} FROM mandate
         WHERE adherent_id = ANY ($1::uuid[]) AND state IN ('requested', 'offered', 'active', 'suspended')
         ORDER BY id
           FOR UPDATE
        """,
        adherent_ids,
    )
    return [read_mandate(row) for row in rows]


async def administers(tx: Tx, person_id: UUID, adherent_id: UUID) -> bool | None:
    """Whether the person is an administrator of the adhérent; None without a live account there."""
    return await tx.fetchval(
        """
        SELECT account.is_administrator
          FROM account
          JOIN adherent ON adherent.id = account.adherent_id AND adherent.state = 'member'
         WHERE account.person_id = $1 AND account.adherent_id = $2 AND account.state = 'active'
        """,
        person_id,
        adherent_id,
    )


async def role_in_cabinet(tx: Tx, person_id: UUID, cabinet_id: UUID) -> str | None:
    """owner, admin, manager or member; None when the person has left, or never belonged."""
    return await tx.fetchval(
        """
        SELECT collaborator.role
          FROM collaborator
          JOIN cabinet ON cabinet.id = collaborator.cabinet_id AND cabinet.state = 'active'
         WHERE collaborator.person_id = $1 AND collaborator.cabinet_id = $2 AND collaborator.state = 'active'
        """,
        person_id,
        cabinet_id,
    )


async def siren_of_cabinet(tx: Tx, cabinet_id: UUID) -> str:
    return await tx.fetchval("SELECT siren FROM cabinet WHERE id = $1", cabinet_id)


async def may_be_given_power(tx: Tx, cabinet_id: UUID) -> bool:
    """Whether the cabinet is in business and not refused by this caisse."""
    return await tx.fetchval(
        """
        SELECT EXISTS (
            SELECT FROM cabinet
             WHERE id = $1 AND state = 'active'
               AND NOT EXISTS (SELECT FROM cabinet_denial WHERE cabinet_id = cabinet.id))
        """,
        cabinet_id,
    )


async def stays_member(tx: Tx, adherent_id: UUID) -> bool:
    """Whether the firm is a member, and until the end of the transaction: whoever strikes it off waits, and then finds
    what was written here; whoever comes behind the striking off waits for it, and is answered no.
    """
    return await tx.fetchval("SELECT state FROM adherent WHERE id = $1 FOR SHARE", adherent_id) == "member"


async def establishments_of(read: Reader, adherent_id: UUID) -> frozenset[str]:
    """Public ids of every establishment of the firm, closed ones included: their past is declared too."""
    rows = await read.fetch("SELECT id FROM establishment WHERE adherent_id = $1", adherent_id)
    return frozenset(public_id("est", row["id"]) for row in rows)


class Names(NamedTuple):
    """The two parties as mails and pages call them."""

    firm: str
    firm_siren: str | None
    adherent_number: str
    cabinet: str
    cabinet_siren: str


async def names_of(tx: Tx, mandate_id: UUID) -> Names:
    row = await tx.fetchrow(
        """
        SELECT adherent.legal_name, adherent.siren, adherent.adherent_number, cabinet.name, cabinet.siren
          FROM mandate
          JOIN adherent ON adherent.id = mandate.adherent_id
          JOIN cabinet ON cabinet.id = mandate.cabinet_id
         WHERE mandate.id = $1
        """,
        mandate_id,
    )
    assert row is not None, "a mandate has both its parties"
    return Names(*row)


async def administrators_to_tell(tx: Tx, adherent_id: UUID) -> list[str]:
    """The e-mail addresses of the firm's administrators."""
    rows = await tx.fetch(
        """
        SELECT person.email
          FROM account
          JOIN person ON person.id = account.person_id
         WHERE account.adherent_id = $1 AND account.is_administrator AND account.state = 'active'
         ORDER BY person.id
        """,
        adherent_id,
    )
    return [row["email"] for row in rows]


async def cabinet_admins_to_tell(tx: Tx, cabinet_id: UUID) -> list[str]:
    """The e-mail addresses of the cabinet's owners and administrators."""
    rows = await tx.fetch(
        """
        SELECT person.email
          FROM collaborator
          JOIN person ON person.id = collaborator.person_id
         WHERE collaborator.cabinet_id = $1 AND collaborator.role IN ('owner', 'admin')
           AND collaborator.state = 'active'
         ORDER BY person.id
        """,
        cabinet_id,
    )
    return [row["email"] for row in rows]


async def offers_since(tx: Tx, adherent_id: UUID, cabinet_id: UUID, since: datetime) -> int:
    """How many times the firm offered something to the cabinet after then; both families at once are one."""
    return await tx.fetchval(
        """
        SELECT count(DISTINCT offered.at)
          FROM mandate
          JOIN mandate_version AS offered ON offered.mandate_id = mandate.id AND offered.event = 'offered'
         WHERE mandate.adherent_id = $1 AND mandate.cabinet_id = $2 AND offered.at > $3
        """,
        adherent_id,
        cabinet_id,
        since,
    )


async def forget_commands(tx: Tx, before: datetime) -> int:
    """Keys of commands carried out before then, across caisses; one bounded batch."""
    return await tx.execute(
        """
        DELETE FROM mandate_command WHERE (caisse, person_id, key) IN (
            SELECT caisse, person_id, key FROM mandate_command WHERE at < $1 LIMIT $2)
        """,
        before, BATCH,
    )  # fmt: skip

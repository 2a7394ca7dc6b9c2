"""Rows of first connection: what is proven and chosen, and the links that confirm it."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from libs.common.database.forgetting import BATCH
from libs.common.database.transaction import Tx


class FirstConnection(NamedTuple):
    """A first connection under way in one browser."""

    id: UUID
    adherent_id: UUID
    adherent_number: str
    siret: str | None
    legal_name: str
    email: str | None
    full_name: str
    has_password: bool
    link_expires_at: datetime | None
    """The deadline of the live link; `None` when none was mailed, or none is left."""
    completed_at: datetime | None


class LiveLink(NamedTuple):
    """A link still good, and what it would confirm."""

    first_connection_id: UUID
    legal_name: str
    email: str
    expires_at: datetime
    password_hash: str | None


class Claimed(NamedTuple):
    """A confirmation just spent: everything the account is made of."""

    first_connection_id: UUID
    pair_id: UUID
    adherent_id: UUID
    legal_name: str
    email: str
    full_name: str
    password_hash: str | None


class NewLink(NamedTuple):
    """A confirmation to keep: hashes only."""

    id: UUID
    first_connection_id: UUID
    email: str
    token_hash: bytes
    code_hash: bytes
    requested_at: datetime
    expires_at: datetime


async def open_row(
    tx: Tx,
    row_id: UUID,
    token_hash: bytes,
    *,
    pair_id: UUID,
    adherent_id: UUID,
    now: datetime,
    expires_at: datetime,
) -> None:
    await tx.execute(
        """
        INSERT INTO first_connection (id, caisse, token_hash, pair_id, adherent_id, created_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        """,
        row_id,
        tx.the_caisse,
        token_hash,
        pair_id,
        adherent_id,
        now,
        expires_at,
    )


async def find(tx: Tx, token_hash: bytes, *, now: datetime) -> FirstConnection | None:
    """None too once its firm was struck off: what it would open could do nothing."""
    row = await tx.fetchrow(
        """
        SELECT first.id, first.adherent_id, adherent.adherent_number, adherent.siret, adherent.legal_name,
               first.email, first.full_name, first.password_hash IS NOT NULL, link.expires_at, first.completed_at
          FROM first_connection AS first
          JOIN adherent ON adherent.id = first.adherent_id AND adherent.state = 'member'
          LEFT JOIN email_confirmation AS link
            ON link.first_connection_id = first.id
           AND link.used_at IS NULL AND link.superseded_at IS NULL AND link.expires_at > $2
         WHERE first.token_hash = $1 AND first.expires_at > $2
        """,
        token_hash,
        now,
    )
    return FirstConnection(*row) if row else None


async def choose_email(tx: Tx, row_id: UUID, *, email: str, full_name: str) -> bool:
    """Note the address, unproven; False once the account is open."""
    noted = await tx.execute(
        "UPDATE first_connection SET email = $2, full_name = $3 WHERE id = $1 AND completed_at IS NULL",
        row_id,
        email,
        full_name,
    )
    return noted == 1


async def choose_password(tx: Tx, row_id: UUID, password_hash: str) -> bool:
    noted = await tx.execute(
        "UPDATE first_connection SET password_hash = $2 WHERE id = $1 AND completed_at IS NULL",
        row_id,
        password_hash,
    )
    return noted == 1


async def supersede_links(tx: Tx, row_id: UUID, *, now: datetime) -> None:
    """A new link, or another address: the former link and its code end."""
    await tx.execute(
        """
        UPDATE email_confirmation SET superseded_at = $2
         WHERE first_connection_id = $1 AND used_at IS NULL AND superseded_at IS NULL
        """,
        row_id,
        now,
    )


async def add_link(tx: Tx, link: NewLink) -> None:
    await tx.execute(
        """
        INSERT INTO email_confirmation (id, caisse, first_connection_id, email, token_hash, code_hash,
                                        requested_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        """,
        link.id,
        tx.the_caisse,
        link.first_connection_id,
        link.email,
        link.token_hash,
        link.code_hash,
        link.requested_at,
        link.expires_at,
    )


async def email_is_known(tx: Tx, email_key: str) -> bool:
    return await tx.fetchval("SELECT EXISTS (SELECT FROM person WHERE email_key = $1)", email_key)


async def find_link(tx: Tx, token_hash: bytes, *, now: datetime) -> LiveLink | None:
    """A link as it stands. Reading spends nothing: mail gateways open links too."""
    row = await tx.fetchrow(
        """
        SELECT link.first_connection_id, adherent.legal_name, link.email, link.expires_at, first.password_hash
          FROM email_confirmation AS link
          JOIN first_connection AS first ON first.id = link.first_connection_id
          JOIN adherent ON adherent.id = first.adherent_id AND adherent.state = 'member'
         WHERE link.token_hash = $1
           AND link.used_at IS NULL AND link.superseded_at IS NULL
           AND link.expires_at > $2
           AND first.completed_at IS NULL
        """,
        token_hash,
        now,
    )
    return LiveLink(*row) if row else None


async def claim_link(
    tx: Tx,
    first_connection_id: UUID,
    *,
    now: datetime,
    token_hash: bytes | None = None,
    code_hash: bytes | None = None,
) -> Claimed | None:
    """Spend the live link of this first connection, shown by its token or by the code typed in its place.

    `None` when unknown, spent, superseded or expired; and when neither is shown, for nothing equals NULL.
    """
    row = await tx.fetchrow(
        """
        UPDATE email_confirmation AS link SET used_at = $4
          FROM first_connection AS first, adherent
         WHERE (link.token_hash = $1 OR link.code_hash = $2)
           AND link.first_connection_id = $3
           AND link.used_at IS NULL AND link.superseded_at IS NULL
           AND link.expires_at > $4
           AND first.id = link.first_connection_id AND first.completed_at IS NULL
           AND adherent.id = first.adherent_id AND adherent.state = 'member'
        RETURNING first.id, first.pair_id, first.adherent_id, adherent.legal_name, link.email,
                  first.full_name, first.password_hash
        """,
        token_hash,
        code_hash,
        first_connection_id,
        now,
    )
    return Claimed(*row) if row else None


async def count_code_failure(tx: Tx, first_connection_id: UUID, *, now: datetime, most: int) -> bool:
    """Spend one try of the typed code before it is judged; False when none is left."""
    spent = await tx.execute(
        """
        UPDATE email_confirmation SET code_failures = code_failures + 1
         WHERE first_connection_id = $1
           AND used_at IS NULL AND superseded_at IS NULL
           AND expires_at > $2 AND code_failures < $3
        """,
        first_connection_id,
        now,
        most,
    )
    return spent == 1


async def add_person(
    tx: Tx, person_id: UUID, *, email: str, email_key: str, full_name: str, password_hash: str, now: datetime
) -> bool:
    """One address, one person: False when somebody has it already."""
    added = await tx.execute(
        """
        INSERT INTO person (id, email, email_key, full_name, password_hash, created_at, password_changed_at)
        VALUES ($1, $2, $3, $4, $5, $6, $6)
        ON CONFLICT (email_key) DO NOTHING
        """,
        person_id,
        email,
        email_key,
        full_name,
        password_hash,
        now,
    )
    return added == 1


async def open_account(
    tx: Tx, account_id: UUID, *, person_id: UUID, adherent_id: UUID, rights: list[str], now: datetime
) -> UUID | None:
    """An administrator's account, live. A closed one opens again; a frozen one is not ours to thaw: `None`."""
    return await tx.fetchval(
        """
        INSERT INTO account (id, caisse, person_id, adherent_id, is_administrator, rights, state,
                             created_at, activated_at)
        VALUES ($1, $2, $3, $4, true, $5, 'active', $6, $6)
        ON CONFLICT (caisse, person_id, adherent_id) DO UPDATE
           SET is_administrator = true, rights = excluded.rights, state = 'active', activated_at = $6
         WHERE account.state <> 'frozen'
        RETURNING id
        """,
        account_id,
        tx.the_caisse,
        person_id,
        adherent_id,
        rights,
        now,
    )


async def complete(tx: Tx, first_connection_id: UUID, *, now: datetime) -> bool:
    """Over: the chosen password leaves this row."""
    done = await tx.execute(
        """
        UPDATE first_connection SET completed_at = $2, password_hash = NULL
         WHERE id = $1 AND completed_at IS NULL
        """,
        first_connection_id,
        now,
    )
    return done == 1


async def forget_before(tx: Tx, now: datetime) -> int:
    """Delete what was left unfinished too long, or is finished and past its time."""
    return await tx.execute(
        "DELETE FROM first_connection WHERE id IN (SELECT id FROM first_connection WHERE expires_at < $1 LIMIT $2)",
        now,
        BATCH,
    )

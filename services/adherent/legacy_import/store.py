"""Balances and declarations, a batch a statement. A row that says the same again is left alone."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from libs.common.database.transaction import Row, Tx
from services.adherent.legacy_import.mapping import BalanceRow, DeclarationRow, PaymentRow, StatementRow


class Written(NamedTuple):
    inserted: int
    updated: int


async def begin_loading(tx: Tx, run: UUID) -> None:
    """From here on nothing is said of the caisse's accounts, until this run, or a later one, is whole."""
    await tx.execute(
        """
        INSERT INTO accounts_loading (caisse, run) VALUES ($1, $2)
        ON CONFLICT (caisse) DO UPDATE SET run = excluded.run, since = excluded.since
        """,
        tx.the_caisse,
        run,
    )


async def end_loading(tx: Tx, run: UUID) -> None:
    """All is in; nothing changes while a later run is still at work."""
    await tx.execute("DELETE FROM accounts_loading WHERE caisse = $1 AND run = $2", tx.the_caisse, run)


async def write(tx: Tx, batch: Sequence[BalanceRow]) -> Written:
    """Insert or update rows of one kind, no two of them with the same key."""
    statements = [row for row in batch if isinstance(row, StatementRow)]
    payments = [row for row in batch if isinstance(row, PaymentRow)]
    declarations = [row for row in batch if isinstance(row, DeclarationRow)]
    rows: list[Row] = []
    if statements:
        rows += await _write_statements(tx, statements)
    if payments:
        rows += await _write_payments(tx, payments)
    if declarations:
        rows += await _write_declarations(tx, declarations)
    inserted = sum(row["is_new"] for row in rows)
    return Written(inserted, len(rows) - inserted)


async def _write_statements(tx: Tx, batch: Sequence[StatementRow]) -> list[Row]:
    return await tx.fetch(
        """
        INSERT INTO statement AS known
               (caisse, adherent_number, period, kind, establishment_siret, amount_cents, due_on, collection)
        SELECT $1, adherent_number, period, kind, establishment_siret, amount_cents, due_on, collection
          FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::date[], $8::text[])
               AS row (adherent_number, period, kind, establishment_siret, amount_cents, due_on, collection)
        ON CONFLICT (caisse, adherent_number, period, kind, establishment_siret) DO UPDATE
           SET amount_cents = excluded.amount_cents, due_on = excluded.due_on, collection = excluded.collection
         WHERE (known.amount_cents, known.due_on, known.collection) IS DISTINCT FROM
               (excluded.amount_cents, excluded.due_on, excluded.collection)
        RETURNING xmax = 0 AS is_new
        """,
        tx.the_caisse,
        *_columns(batch),
    )


async def _write_payments(tx: Tx, batch: Sequence[PaymentRow]) -> list[Row]:
    return await tx.fetch(
        """
        INSERT INTO payment AS known
               (caisse, reference, adherent_number, period, kind, amount_cents, received_on, state)
        SELECT $1, reference, adherent_number, period, kind, amount_cents, received_on, state
          FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::date[], $8::text[])
               AS row (reference, adherent_number, period, kind, amount_cents, received_on, state)
        ON CONFLICT (caisse, reference) DO UPDATE
           SET adherent_number = excluded.adherent_number, period = excluded.period, kind = excluded.kind,
               amount_cents = excluded.amount_cents, received_on = excluded.received_on, state = excluded.state
         WHERE (known.adherent_number, known.period, known.kind, known.amount_cents, known.received_on, known.state)
               IS DISTINCT FROM (excluded.adherent_number, excluded.period, excluded.kind, excluded.amount_cents,
                                 excluded.received_on, excluded.state)
        RETURNING xmax = 0 AS is_new
        """,
        tx.the_caisse,
        *_columns(batch),
    )


async def _write_declarations(tx: Tx, batch: Sequence[DeclarationRow]) -> list[Row]:
    return await tx.fetch(
        """
        INSERT INTO declaration AS known
               (caisse, adherent_number, period, kind, establishment_siret, due_on, filed_on)
        SELECT $1, adherent_number, period, kind, establishment_siret, due_on, filed_on
          FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::date[], $7::date[])
               AS row (adherent_number, period, kind, establishment_siret, due_on, filed_on)
        ON CONFLICT (caisse, adherent_number, period, kind, establishment_siret) DO UPDATE
           SET due_on = excluded.due_on, filed_on = excluded.filed_on
         WHERE (known.due_on, known.filed_on) IS DISTINCT FROM (excluded.due_on, excluded.filed_on)
        RETURNING xmax = 0 AS is_new
        """,
        tx.the_caisse,
        *_columns(batch),
    )


def _columns(batch: Sequence[BalanceRow]) -> list[list[object]]:
    return [list(column) for column in zip(*batch, strict=True)]

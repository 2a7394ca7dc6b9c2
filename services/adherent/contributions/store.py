"""What is owed and what was paid, by adhérent number."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

import msgspec

from libs.common.database.transaction import Tx


class Statement(msgspec.Struct, frozen=True):
    """What one period owes, and how much of it settled payments already cover.

    `period` is `2020`, `2020-T4` or `2020-11`; a negative amount is a credit.
    """

    period: str
    kind: str
    establishment_siret: str | None
    amount_cents: int
    due_on: date
    collection: str
    paid_cents: int


class StatementToKeep(msgspec.Struct, frozen=True, kw_only=True):
    """A statement as the caisse's accounts give it; the same key again replaces it."""

    adherent_number: str
    period: str
    kind: str
    amount_cents: int
    due_on: date
    establishment_siret: str | None = None
    collection: str = "called"


class PaymentToKeep(msgspec.Struct, frozen=True, kw_only=True):
    """A payment of one statement; `reference` is unique in the caisse."""

    reference: str
    adherent_number: str
    period: str
    kind: str
    amount_cents: int
    received_on: date
    state: str = "settled"


IMPUTED = """paid AS (
            SELECT p.adherent_number, p.period, p.kind, sum(p.amount_cents) AS cents
              FROM payment AS p
              JOIN {whose} AS whose ON whose.adherent_number = p.adherent_number
             WHERE p.state = 'settled' AND p.received_on <= {day}
             GROUP BY p.adherent_number, p.period, p.kind
        ), called AS (
            SELECT s.adherent_number, s.period, s.kind, s.establishment_siret, s.amount_cents, s.due_on, s.collection,
                   coalesce(sum(greatest(s.amount_cents, 0))
                            OVER (debts ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS cents_before,
                   lead(true) OVER debts IS NULL AS is_last
              FROM statement AS s
              JOIN {whose} AS whose ON whose.adherent_number = s.adherent_number
            WINDOW debts AS (PARTITION BY s.adherent_number, s.period, s.kind
                             ORDER BY s.due_on, s.establishment_siret NULLS FIRST)
        ), imputed AS (
            SELECT called.adherent_number, called.period, called.kind, called.establishment_siret,
                   called.amount_cents,
                   greatest(0, least(coalesce(paid.cents, 0) - called.cents_before,
                                     CASE WHEN NOT called.is_last THEN greatest(called.amount_cents, 0) END))::bigint
                       AS paid_cents,
                   called.due_on, called.collection
              FROM called
              LEFT JOIN paid ON paid.adherent_number = called.adherent_number AND paid.period = called.period
                            AND paid.kind = called.kind
        )"""
"""Every statement of `whose` (a relation with their numbers), with the cents paid of it by the end of `day`.

A payment names a period and a kind, no establishment: what fell due first is paid first (Code civil, art. 1342-10),
each cent once, so that one establishment's payment hides no other's debt; what is left over stands with the last.
"""

OF_ONE_ADHERENT = IMPUTED.format(whose="(SELECT $1::text AS adherent_number)", day="'infinity'")


async def statements_of(
    tx: Tx, adherent_number: str, member_id: UUID, establishments: frozenset[UUID] | None
) -> list[Statement]:
    """Newest due date first; of some `establishments`, or of them all and of the firm as a whole.

    A statement names the SIRET of its day: one that the establishment has no more is the whole firm's to read.
    """
    rows = await tx.fetch(
        f"""
        WITH {OF_ONE_ADHERENT}
        SELECT s.period, s.kind, s.establishment_siret, s.amount_cents, s.due_on, s.collection, s.paid_cents
          FROM imputed AS s
         WHERE $3::uuid[] IS NULL OR s.establishment_siret IN (
               SELECT siret FROM establishment WHERE member_id = $2 AND id = ANY ($3::uuid[]))
         ORDER BY s.due_on DESC, s.period DESC, s.kind, s.establishment_siret NULLS FIRST
        """,
        adherent_number,
        member_id,
        None if establishments is None else list(establishments),
    )
    return [Statement(*row) for row in rows]


async def keep_statements(tx: Tx, statements: Sequence[StatementToKeep]) -> None:
    await tx.executemany(
        """
        INSERT INTO statement (caisse, adherent_number, period, kind, establishment_siret, amount_cents, due_on,
                               collection)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        ON CONFLICT (caisse, adherent_number, period, kind, establishment_siret) DO UPDATE
           SET amount_cents = excluded.amount_cents, due_on = excluded.due_on, collection = excluded.collection
        """,
        [
            (
                tx.the_caisse,
                one.adherent_number,
                one.period,
                one.kind,
                one.establishment_siret,
                one.amount_cents,
                one.due_on,
                one.collection,
            )
            for one in statements
        ],
    )


async def keep_payments(tx: Tx, payments: Sequence[PaymentToKeep]) -> None:
    await tx.executemany(
        """
        INSERT INTO payment (caisse, reference, adherent_number, period, kind, amount_cents, received_on, state)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        ON CONFLICT (caisse, reference) DO UPDATE
           SET adherent_number = excluded.adherent_number, period = excluded.period, kind = excluded.kind,
               amount_cents = excluded.amount_cents, received_on = excluded.received_on, state = excluded.state
        """,
        [
            (
                tx.the_caisse,
                one.reference,
                one.adherent_number,
                one.period,
                one.kind,
                one.amount_cents,
                one.received_on,
                one.state,
            )
            for one in payments
        ],
    )

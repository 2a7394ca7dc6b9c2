"""The letters' SQL: pairs, and the failures they may still meet."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID

from libs.common.database.forgetting import BATCH
from libs.common.database.transaction import Tx
from libs.common.values.identifiers import new_id
from services.identity.letters.recipient import Recipient


class MailedPair(NamedTuple):
    """A pair that could be redeemed now, and whose it is."""

    id: UUID
    adherent_id: UUID
    adherent_number: str
    legal_name: str
    identifiant_salt: bytes
    identifiant_hash: bytes
    code_salt: bytes
    code_hash: bytes


async def mailed_pairs(tx: Tx, number: str, now: datetime) -> list[MailedPair]:
    """The usable pairs of whoever has this SIRET or adhérent number, newest first; eight at most."""
    rows = await tx.fetch(
        """
        SELECT pair.id, pair.adherent_id, adherent.adherent_number, adherent.legal_name,
               pair.identifiant_salt, pair.identifiant_hash, pair.code_salt, pair.code_hash
          FROM adherent
          JOIN letter_pair AS pair ON pair.adherent_id = adherent.id
         WHERE (adherent.siret = $1 OR adherent.adherent_number = $1)
           AND adherent.state = 'member'
           AND pair.state = 'mailed'
           AND pair.valid_until > $2
         ORDER BY pair.id DESC
         LIMIT 8
        """,
        number,
        now,
    )
    return [MailedPair(*row) for row in rows]


async def note_attempt(tx: Tx, pair_id: UUID | None, now: datetime) -> None:
    """Leave the same trace for every try, met or not."""
    await tx.execute(
        "INSERT INTO letter_attempt (id, caisse, pair_id, tried_at) VALUES ($1, $2, $3, $4)",
        new_id(),
        tx.the_caisse,
        pair_id,
        now,
    )


async def spend_failure(tx: Tx, pair_id: UUID, now: datetime) -> bool:
    """Take one of the ten failures of the pair's life; False when none is left. The tenth kills it."""
    return bool(
        await tx.execute(
            """
            UPDATE letter_pair
               SET failures = failures + 1,
                   state = CASE WHEN failures = 9 THEN 'exhausted' ELSE state END,
                   ended_at = CASE WHEN failures = 9 THEN $2::timestamptz END,
                   ended_because = CASE WHEN failures = 9 THEN 'ten failures' END
             WHERE id = $1
               AND state = 'mailed'
               AND failures < 10
            """,
            pair_id,
            now,
        )
    )


async def give_failure_back(tx: Tx, pair_id: UUID) -> bool:
    """Undo `spend_failure` after a right code; False when the pair died of something else meanwhile."""
    return bool(
        await tx.execute(
            """
            UPDATE letter_pair
               SET failures = failures - 1, state = 'mailed', ended_at = NULL, ended_because = NULL
             WHERE id = $1
               AND failures > 0
               AND state IN ('mailed', 'exhausted')
               AND code_hash IS NOT NULL
            """,
            pair_id,
        )
    )


async def redeem(tx: Tx, pair_id: UUID, now: datetime) -> UUID | None:
    """Spend the pair and erase its halves; its adhérent, or None when it was no longer spendable.

    An expired one was proven in time, and serves until its adhérent has newer letters. None serves a firm struck off.
    """
    return await tx.fetchval(
        """
        UPDATE letter_pair
           SET state = 'redeemed', ended_at = $2,
               identifiant_salt = NULL, identifiant_hash = NULL, code_salt = NULL, code_hash = NULL
         WHERE id = $1
           AND (state = 'mailed' OR state = 'expired' AND NOT EXISTS (
                SELECT FROM letter_pair AS newer
                 WHERE newer.adherent_id = letter_pair.adherent_id
                   AND newer.made_at >= letter_pair.made_at AND newer.id <> letter_pair.id))
           AND EXISTS (SELECT FROM adherent WHERE adherent.id = letter_pair.adherent_id AND adherent.state = 'member')
        RETURNING adherent_id
        """,
        pair_id,
        now,
    )


class NewLot(NamedTuple):
    """A print lot as it is made: sealed, neither printed nor posted."""

    id: UUID
    kind: str
    letters: int
    sha256: bytes
    sealed: bytes
    post_on: date
    made_at: datetime


class NewPair(NamedTuple):
    """A pair as it is made: how its halves are recognised, and where they are printed."""

    id: UUID
    adherent_id: UUID
    identifiant_salt: bytes
    identifiant_hash: bytes
    code_salt: bytes
    code_hash: bytes
    identifiant_lot_id: UUID
    identifiant_page: int
    code_lot_id: UUID
    code_page: int


class PrintLot(NamedTuple):
    """A print lot as one follows it; the letters themselves stay in the table."""

    id: UUID
    kind: str
    letters: int
    sha256: bytes
    post_on: date
    made_at: datetime
    printed_at: datetime | None
    posted_at: datetime | None
    purged_at: datetime | None
    purge_proof: str | None


class LotPage(NamedTuple):
    """One letter of a lot, for its manifest."""

    page: int
    pair_id: UUID
    adherent_id: UUID
    adherent_number: str
    legal_name: str
    state: str


async def recipients(tx: Tx, numbers: Sequence[str] | None, limit: int) -> list[Recipient]:
    """The members of these numbers; without numbers, those that have neither account nor live pair."""
    rows = await tx.fetch(
        """
        SELECT id, adherent_number, siret, legal_name, address
          FROM adherent
         WHERE state = 'member'
           AND cardinality(address) > 0
           AND CASE WHEN $1::text[] IS NOT NULL THEN adherent_number = ANY ($1)
                    ELSE NOT EXISTS (SELECT FROM account
                                      WHERE account.adherent_id = adherent.id
                                        AND account.state IN ('active', 'frozen'))
                     AND NOT EXISTS (SELECT FROM letter_pair
                                      WHERE letter_pair.adherent_id = adherent.id
                                        AND letter_pair.state IN ('generated', 'printed', 'first_mailed', 'mailed'))
               END
         ORDER BY adherent_number
         LIMIT $2
        """,
        numbers,
        limit,
    )
    return [Recipient(*row) for row in rows]


async def add_lot(tx: Tx, lot: NewLot) -> None:
    await tx.execute(
        """
        INSERT INTO print_lot (id, caisse, kind, letters, pages, sha256, sealed, post_on, made_at)
        VALUES ($1, $2, $3, $4, $4, $5, $6, $7, $8)
        """,
        lot.id,
        tx.the_caisse,
        lot.kind,
        lot.letters,
        lot.sha256,
        lot.sealed,
        lot.post_on,
        lot.made_at,
    )


async def add_pairs(tx: Tx, pairs: Sequence[NewPair], now: datetime) -> int:
    """How many entered; fewer than given when another live pair stands in the way."""
    return await tx.execute(
        """
        INSERT INTO letter_pair (id, caisse, adherent_id, identifiant_salt, identifiant_hash, code_salt, code_hash,
                                 identifiant_lot_id, identifiant_page, code_lot_id, code_page, made_at)
        SELECT id, $1, adherent_id, identifiant_salt, identifiant_hash, code_salt, code_hash,
               identifiant_lot_id, identifiant_page, code_lot_id, code_page, $2
          FROM unnest($3::uuid[], $4::uuid[], $5::bytea[], $6::bytea[], $7::bytea[], $8::bytea[],
                      $9::uuid[], $10::int[], $11::uuid[], $12::int[])
               AS row (id, adherent_id, identifiant_salt, identifiant_hash, code_salt, code_hash,
                       identifiant_lot_id, identifiant_page, code_lot_id, code_page)
        ON CONFLICT (adherent_id) WHERE state IN ('generated', 'printed', 'first_mailed', 'mailed') DO NOTHING
        """,
        tx.the_caisse,
        now,
        *(list(column) for column in zip(*pairs, strict=True)),
    )


async def end_pairs(
    tx: Tx, adherent_ids: Sequence[UUID], state: str, because: str, now: datetime
) -> list[tuple[UUID, UUID]]:
    """Kill every half these adhérents still hold, spent failures included; the pairs that died of it, and whose."""
    rows = await tx.fetch(
        """
        UPDATE letter_pair
           SET state = $2, ended_at = $4, ended_because = $3,
               identifiant_salt = NULL, identifiant_hash = NULL, code_salt = NULL, code_hash = NULL
         WHERE adherent_id = ANY ($1::uuid[])
           AND state IN ('generated', 'printed', 'first_mailed', 'mailed', 'exhausted')
        RETURNING id, adherent_id
        """,
        adherent_ids,
        state,
        because,
        now,
    )
    return [(row["id"], row["adherent_id"]) for row in rows]


async def find_lot(tx: Tx, lot_id: UUID) -> PrintLot | None:
    row = await tx.fetchrow(
        """
        SELECT id, kind, letters, sha256, post_on, made_at, printed_at, posted_at, purged_at, purge_proof
          FROM print_lot
         WHERE id = $1
        """,
        lot_id,
    )
    return PrintLot(*row) if row else None


async def lots(tx: Tx, limit: int) -> list[PrintLot]:
    """The newest lots first."""
    rows = await tx.fetch(
        """
        SELECT id, kind, letters, sha256, post_on, made_at, printed_at, posted_at, purged_at, purge_proof
          FROM print_lot
         ORDER BY made_at DESC, kind DESC
         LIMIT $1
        """,
        limit,
    )
    return [PrintLot(*row) for row in rows]


async def sealed_pdf(tx: Tx, lot_id: UUID) -> bytes | None:
    """The sealed PDF, or None once it is purged. The lot stays locked until the transaction ends."""
    return await tx.fetchval("SELECT sealed FROM print_lot WHERE id = $1 FOR UPDATE", lot_id)


async def pages(tx: Tx, lot_id: UUID) -> list[LotPage]:
    """Whom each page goes to, in order."""
    rows = await tx.fetch(
        """
        SELECT CASE WHEN pair.identifiant_lot_id = $1 THEN pair.identifiant_page ELSE pair.code_page END AS page,
               pair.id, pair.adherent_id, adherent.adherent_number, adherent.legal_name, pair.state
          FROM letter_pair AS pair
          JOIN adherent ON adherent.id = pair.adherent_id
         WHERE $1 IN (pair.identifiant_lot_id, pair.code_lot_id)
         ORDER BY page
        """,
        lot_id,
    )
    return [LotPage(*row) for row in rows]


async def mark_printed(tx: Tx, lot_id: UUID, now: datetime) -> None:
    await tx.execute("UPDATE print_lot SET printed_at = coalesce(printed_at, $2) WHERE id = $1", lot_id, now)


async def pairs_printed(tx: Tx, lot_id: UUID) -> None:
    """The pairs of a lot are printed once both their lots are."""
    await tx.execute(
        """
        UPDATE letter_pair AS pair
           SET state = 'printed'
          FROM print_lot AS first, print_lot AS second
         WHERE $1 IN (pair.identifiant_lot_id, pair.code_lot_id)
           AND first.id = pair.identifiant_lot_id
           AND second.id = pair.code_lot_id
           AND first.printed_at IS NOT NULL
           AND second.printed_at IS NOT NULL
           AND pair.state = 'generated'
        """,
        lot_id,
    )


async def mark_posted(tx: Tx, lot_id: UUID, now: datetime) -> bool:
    """False when the lot is not printed, or posted already."""
    return bool(
        await tx.execute(
            """
            UPDATE print_lot
               SET posted_at = $2
             WHERE id = $1
               AND printed_at IS NOT NULL
               AND posted_at IS NULL
            """,
            lot_id,
            now,
        )
    )


async def first_posting(tx: Tx, code_lot_id: UUID) -> datetime | None:
    """When the latest of the first letters of this lot's pairs was posted; None when one still waits."""
    return await tx.fetchval(
        """
        SELECT CASE WHEN bool_and(first.posted_at IS NOT NULL) THEN max(first.posted_at) END
          FROM letter_pair AS pair
          JOIN print_lot AS first ON first.id = pair.identifiant_lot_id
         WHERE pair.code_lot_id = $1
        """,
        code_lot_id,
    )


async def pairs_first_mailed(tx: Tx, lot_id: UUID) -> int:
    return await tx.execute(
        """
        UPDATE letter_pair
           SET state = 'first_mailed'
         WHERE identifiant_lot_id = $1
           AND state IN ('generated', 'printed')
        """,
        lot_id,
    )


async def pairs_mailed(tx: Tx, lot_id: UUID, valid_until: datetime) -> int:
    """The second letter is on its way: from now until `valid_until` the pair opens a space."""
    return await tx.execute(
        """
        UPDATE letter_pair
           SET state = 'mailed', valid_until = $2
         WHERE code_lot_id = $1
           AND state = 'first_mailed'
        """,
        lot_id,
        valid_until,
    )


async def purge(tx: Tx, lot_id: UUID, proof: str, now: datetime) -> bool:
    """Erase the sealed PDF and keep the proof of it; False when it was erased already."""
    return bool(
        await tx.execute(
            """
            UPDATE print_lot
               SET sealed = NULL, purged_at = $3, purge_proof = $2
             WHERE id = $1
               AND sealed IS NOT NULL
            """,
            lot_id,
            proof,
            now,
        )
    )


async def mark_undeliverable(tx: Tx, lot_id: UUID, page: int, reason: str, now: datetime) -> UUID | None:
    """The pair whose letter came back dies; its adhérent, or None when no live pair stands there."""
    return await tx.fetchval(
        """
        UPDATE letter_pair
           SET state = 'undeliverable', ended_at = $4, ended_because = $3,
               identifiant_salt = NULL, identifiant_hash = NULL, code_salt = NULL, code_hash = NULL
         WHERE ((identifiant_lot_id = $1 AND identifiant_page = $2) OR (code_lot_id = $1 AND code_page = $2))
           AND state IN ('printed', 'first_mailed', 'mailed')
        RETURNING adherent_id
        """,
        lot_id,
        page,
        reason,
        now,
    )


async def expire_pairs(tx: Tx, now: datetime) -> int:
    """Across caisses: the halves of pairs past their last day are erased. Expiry is exclusive."""
    return await tx.execute(
        """
        UPDATE letter_pair
           SET state = 'expired', ended_at = $1,
               identifiant_salt = NULL, identifiant_hash = NULL, code_salt = NULL, code_hash = NULL
         WHERE state = 'mailed'
           AND valid_until <= $1
        """,
        now,
    )


async def forget_attempts(tx: Tx, before: datetime) -> int:
    """Across caisses: tries are technical logs, and kept as long as those."""
    return await tx.execute(
        "DELETE FROM letter_attempt WHERE id IN (SELECT id FROM letter_attempt WHERE tried_at < $1 LIMIT $2)",
        before,
        BATCH,
    )

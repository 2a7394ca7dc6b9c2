"""The letters' SQL: pairs, and the failures they may still meet."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from libs.common.database.transaction import Tx
from libs.common.values.identifiers import new_id


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
    """Spend the pair and erase its halves; its adhérent, or None when it was no longer spendable."""
    return await tx.fetchval(
        """
        UPDATE letter_pair
           SET state = 'redeemed', ended_at = $2,
               identifiant_salt = NULL, identifiant_hash = NULL, code_salt = NULL, code_hash = NULL
         WHERE id = $1
           AND state IN ('mailed', 'expired')
        RETURNING adherent_id
        """,
        pair_id,
        now,
    )

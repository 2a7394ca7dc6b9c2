"""Consents, in SQL."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from libs.common.database.forgetting import BATCH
from libs.common.database.transaction import Row, Tx


async def in_force(tx: Tx, person_id: UUID, now: datetime) -> Sequence[Row]:
    return await tx.fetch(
        """
        SELECT consent.id, consent.client_id, client.metadata::text AS metadata, consent.account_id,
               adherent.legal_name, adherent.siret, consent.scopes, consent.given_at, consent.expires_at
          FROM consent
          LEFT JOIN client ON client.client_id = consent.client_id
          LEFT JOIN account ON account.id = consent.account_id
          LEFT JOIN adherent ON adherent.id = account.adherent_id
         WHERE consent.person_id = $1 AND consent.revoked_at IS NULL AND consent.expires_at > $2
         ORDER BY consent.given_at DESC
        """,
        person_id, now,
    )  # fmt: skip


class TakenBack(NamedTuple):
    """Whose access ended, and of which firm; neither when it was nobody's in particular."""

    client_id: str
    account_id: UUID | None
    adherent_id: UUID | None


async def revoke(tx: Tx, person_id: UUID, consent_id: UUID, now: datetime) -> TakenBack | None:
    """What was taken back, when this call did. Every consent to that client for that firm goes with it."""
    row = await tx.fetchrow(
        """
        SELECT consent.client_id, consent.account_id,
               (SELECT adherent_id FROM account WHERE account.id = consent.account_id) AS adherent_id
          FROM consent
         WHERE consent.id = $1 AND consent.person_id = $2 AND consent.revoked_at IS NULL
           FOR UPDATE
        """,
        consent_id, person_id,
    )  # fmt: skip
    if row is None:
        return None
    taken_back = TakenBack(*row)
    await tx.execute(
        """
        UPDATE consent SET revoked_at = $4
         WHERE person_id = $1 AND client_id = $2 AND account_id IS NOT DISTINCT FROM $3::uuid
           AND revoked_at IS NULL
        """,
        person_id, taken_back.client_id, taken_back.account_id, now,
    )  # fmt: skip
    return taken_back


async def revoke_grants(
    tx: Tx, person_id: UUID, client_id: str, account_id: UUID | None, now: datetime
) -> int:
    return await tx.execute(
        """
        UPDATE authorization_grant SET revoked_at = $4, revoked_why = 'consent_revoked'
         WHERE person_id = $1 AND client_id = $2 AND account_id IS NOT DISTINCT FROM $3::uuid
           AND revoked_at IS NULL
        """,
        person_id, client_id, account_id, now,
    )  # fmt: skip


async def forget_over(tx: Tx, before: datetime) -> int:
    """Consents that ended before then, across caisses; one bounded batch."""
    return await tx.execute(
        """
        DELETE FROM consent WHERE (caisse, id) IN (
            SELECT caisse, id FROM consent WHERE expires_at < $1 LIMIT $2)
        """,
        before, BATCH,
    )  # fmt: skip

"""Consents, in SQL."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from libs.common.database.forgetting import BATCH
from libs.common.database.transaction import Row, Tx


async def in_force(tx: Tx, person_id: UUID, now: datetime) -> Sequence[Row]:
    return await tx.fetch(
        """
        SELECT consent.id, consent.client_id, coalesce(client.metadata->>'client_name', consent.client_id),
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


async def revoke(tx: Tx, person_id: UUID, consent_id: UUID, now: datetime) -> str | None:
    """The client, when this call took the consent back. Every consent to that client goes with it."""
    client_id = await tx.fetchval(
        "SELECT client_id FROM consent WHERE id = $1 AND person_id = $2 AND revoked_at IS NULL FOR UPDATE",
        consent_id, person_id,
    )  # fmt: skip
    if client_id is not None:
        await tx.execute(
            """
            UPDATE consent SET revoked_at = $3
             WHERE person_id = $1 AND client_id = $2 AND revoked_at IS NULL
            """,
            person_id, client_id, now,
        )  # fmt: skip
    return client_id


async def revoke_grants(tx: Tx, person_id: UUID, client_id: str, now: datetime) -> int:
    return await tx.execute(
        """
        UPDATE authorization_grant SET revoked_at = $3, revoked_why = 'consent_revoked'
         WHERE person_id = $1 AND client_id = $2 AND revoked_at IS NULL
        """,
        person_id, client_id, now,
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

"""Clients and initial access tokens, in SQL."""

from datetime import datetime
from typing import Any

import msgspec

from libs.common.database.transaction import Tx
from services.identity.openid.clients import Client
from services.identity.openid.store import CLIENT, client_of


async def add(
    tx: Tx, client: Client, registered_by: str, registration_hash: bytes | None, now: datetime
) -> bool:
    return await tx.execute(
        """
        INSERT INTO client (caisse, client_id, metadata, secret_hash, registration_token_hash, registered_by,
                            created_at, updated_at)
        VALUES ($1, $2, $3::text::jsonb, $4, $5, $6, $7, $7)
        ON CONFLICT DO NOTHING
        """,
        tx.the_caisse, client.client_id, msgspec.json.encode(client.metadata).decode(), client.secret_hash,
        registration_hash, registered_by, now,
    ) == 1  # fmt: skip


async def every(tx: Tx) -> list[Client]:
    rows = await tx.fetch(f"SELECT {CLIENT} FROM client ORDER BY client_id")
    return [client for client in map(client_of, rows) if client is not None]


async def held(tx: Tx, client_id: str) -> Client | None:
    """The client as it is now; whoever else would change it waits until this transaction ends."""
    row = await tx.fetchrow(f"SELECT {CLIENT} FROM client WHERE client_id = $1 FOR UPDATE", client_id)
    return client_of(row) if row else None


async def replace(tx: Tx, client: Client, now: datetime) -> bool:
    """Its metadata, its secret, and until when its grants are over.

    False for a cabinet's machine: it has its own commands, which keep it one.
    """
    return await tx.execute(
        """
        UPDATE client SET metadata = $2::text::jsonb, secret_hash = $3, not_before = $4, updated_at = $5
         WHERE client_id = $1
           AND NOT EXISTS (SELECT FROM machine_client AS machine WHERE machine.client_id = client.client_id)
        """,
        client.client_id, msgspec.json.encode(client.metadata).decode(), client.secret_hash, client.not_before, now,
    ) == 1  # fmt: skip


async def disable(tx: Tx, client_id: str, now: datetime) -> bool:
    return await tx.execute(
        "UPDATE client SET state = 'disabled', updated_at = $2 WHERE client_id = $1 AND state = 'active'",
        client_id, now,
    ) == 1  # fmt: skip


async def end_consents(tx: Tx, client_id: str, now: datetime) -> int:
    """Everybody who agreed to this client is asked again. What they gave it already stays theirs to take back."""
    return await tx.execute(
        "UPDATE consent SET revoked_at = $2 WHERE client_id = $1 AND revoked_at IS NULL", client_id, now
    )


async def replace_secret(tx: Tx, client_id: str, secret_hash: bytes, now: datetime) -> bool:
    return await tx.execute(
        "UPDATE client SET secret_hash = $2, updated_at = $3 WHERE client_id = $1 AND secret_hash IS NOT NULL",
        client_id, secret_hash, now,
    ) == 1  # fmt: skip


async def registered_with(tx: Tx, client_id: str, registration_hash: bytes) -> Client | None:
    """The client that this registration access token manages (RFC 7592 §2)."""
    row = await tx.fetchrow(
        f"""
        SELECT {CLIENT} FROM client
         WHERE client_id = $1 AND registration_token_hash = $2 AND state = 'active'
        """,
        client_id, registration_hash,
    )  # fmt: skip
    return client_of(row) if row else None


async def add_initial_token(
    tx: Tx, token_hash: bytes, *, profile: str, uses: int, expires_at: datetime, now: datetime
) -> None:
    await tx.execute(
        """
        INSERT INTO initial_access_token (caisse, token_hash, profile, uses_left, expires_at, created_at)
        VALUES ($1, $2, $3, $4, $5, $6)
        """,
        tx.the_caisse, token_hash, profile, uses, expires_at, now,
    )  # fmt: skip


async def profile_of_initial_token(tx: Tx, token_hash: bytes, now: datetime) -> Any:
    """The profile that it would register; nothing is spent. `None` for an unknown, spent or expired one."""
    return await tx.fetchval(
        "SELECT profile FROM initial_access_token WHERE token_hash = $1 AND uses_left > 0 AND expires_at > $2",
        token_hash, now,
    )  # fmt: skip


async def spend_initial_token(tx: Tx, token_hash: bytes, now: datetime) -> Any:
    """One use fewer; the profile it registers, or `None`."""
    return await tx.fetchval(
        """
        UPDATE initial_access_token SET uses_left = uses_left - 1
         WHERE token_hash = $1 AND uses_left > 0 AND expires_at > $2
        RETURNING profile
        """,
        token_hash, now,
    )  # fmt: skip

"""The signing keys of a caisse, in SQL."""

from datetime import datetime
from typing import Final, Literal, NamedTuple

import msgspec

from libs.common.access.signatures import Algorithm
from libs.common.database.one_statement import Reader
from libs.common.database.transaction import Tx
from libs.common.values.caisse_slug import CaisseSlug
from services.identity.signing_keys.opened import NOTHING_OPENED, Opened

State = Literal["prepublished", "active", "verify_only", "archived", "revoked"]


class StoredKey(msgspec.Struct, frozen=True):
    kid: str
    algorithm: str
    state: str
    public_jwk: dict[str, str]
    sealed: bytes


class HeldKey(NamedTuple):
    """A key about to be revoked, or revoked already (`revoked`)."""

    algorithm: Algorithm
    state: State
    revoked_at: datetime | None


class RevokedKey(NamedTuple):
    """What is left to say of a key that leaked."""

    kid: str
    algorithm: Algorithm
    revoked_at: datetime


async def published(read: Reader) -> list[StoredKey]:
    """Every key that verifies, or will soon sign: newest first."""
    rows = await read.fetch(
        """
        SELECT kid, algorithm, state, public_jwk::text AS public_jwk, private_key_encrypted
          FROM signing_key
         WHERE state <> 'archived'
         ORDER BY created_at DESC, kid
        """
    )
    return [StoredKey(r[0], r[1], r[2], msgspec.json.decode(r[3], type=dict[str, str]), r[4]) for r in rows]


async def archived(read: Reader, *, retired_after: datetime) -> list[dict[str, str]]:
    """The public halves of keys that left the JWK Set, and signed what somebody may still show us."""
    rows = await read.fetch(
        "SELECT public_jwk::text FROM signing_key WHERE state = 'archived' AND retired_at > $1", retired_after
    )
    return [msgspec.json.decode(row[0], type=dict[str, str]) for row in rows]


class Told(NamedTuple):
    """What a ring is made of, told shortly: while it stays the same, so does the ring."""

    keys: str
    """Each key that is published, or was revoked and might still be known for hints, and its state; newest first."""
    opened: Opened
    until: datetime | None
    """When the first initial access token that is still good ends: nothing is written at that moment."""


NOBODY: Final = Told("", NOTHING_OPENED, None)
"""What is told of no caisse."""


async def version(read: Reader) -> int:
    """A number that is another one when anything that `told` says of any caisse may have changed.

    Each caisse counts its own changes (migration 0133), and a sum sees what has been committed, in whatever order.
    """
    row = await read.one_row("SELECT coalesce(sum(version), 0)::bigint AS version FROM issuer_version")
    return row["version"]


async def told(read: Reader, caisse: CaisseSlug, now: datetime) -> Told:
    """The keys of a caisse, and what it opens to clients: by its settings, by a client there, by an invitation given.

    One message for all the caisses that are asked for at once, and no private key in it.
    """
    row = await read.one_row(
        """
        SELECT (SELECT string_agg(kid || state, ' ' ORDER BY created_at DESC, kid)
                  FROM signing_key WHERE state <> 'archived' OR revoked_at IS NOT NULL) AS keys,
               registration IS NOT NULL AS is_there,
               registration <> 'closed' OR invited.anybody AS registers,
               registration = 'compat' OR invited.to_compat OR EXISTS (
                   SELECT 1 FROM client WHERE state = 'active' AND metadata->>'profile' = 'compat') AS compat,
               invited.until
          FROM (SELECT count(*) > 0 AS anybody, coalesce(bool_or(profile = 'compat'), false) AS to_compat,
                       min(expires_at) AS until
                  FROM initial_access_token
                 WHERE uses_left > 0 AND expires_at > $2) AS invited
          LEFT JOIN LATERAL (SELECT coalesce(settings->>'open_registration', 'closed') AS registration
                               FROM caisse WHERE slug = $1) AS said ON true
        """,
        caisse,
        now,
    )
    if not row["is_there"]:
        return NOBODY
    return Told(row["keys"] or "", Opened(registers=row["registers"], compat=row["compat"]), row["until"])


async def add(
    tx: Tx, *, kid: str, algorithm: str, state: str, public_jwk: dict[str, str], sealed: bytes, now: datetime
) -> bool:
    """Insert a key; `False` when another process has just added one in that state."""
    return bool(
        await tx.execute(
            """
            INSERT INTO signing_key (caisse, kid, algorithm, state, public_jwk, private_key_encrypted,
                                     created_at, activated_at)
            VALUES ($1, $2, $3, $4, $5::text::jsonb, $6, $7, CASE WHEN $4 = 'active' THEN $7::timestamptz END)
            ON CONFLICT DO NOTHING
            """,
            tx.the_caisse,
            kid,
            algorithm,
            state,
            msgspec.json.encode(public_jwk).decode(),
            sealed,
            now,
        )
    )


async def retire_active(tx: Tx, algorithm: str, now: datetime) -> bool:
    """The signer stops signing and keeps verifying."""
    return bool(
        await tx.execute(
            """
            UPDATE signing_key SET state = 'verify_only', retired_at = $2
             WHERE algorithm = $1 AND state = 'active'
            """,
            algorithm,
            now,
        )
    )


async def activate_next(tx: Tx, algorithm: str, now: datetime) -> str | None:
    """The prepublished key begins to sign; its kid."""
    return await tx.fetchval(
        """
        UPDATE signing_key SET state = 'active', activated_at = $2
         WHERE algorithm = $1 AND state = 'prepublished'
        RETURNING kid
        """,
        algorithm,
        now,
    )


async def archive(tx: Tx, *, retired_before: datetime, now: datetime) -> int:
    """Keys whose last token has expired lose their private half and leave the JWK Set."""
    return await tx.execute(
        """
        UPDATE signing_key SET state = 'archived', archived_at = $2, private_key_encrypted = NULL
         WHERE state = 'verify_only' AND retired_at < $1
        """,
        retired_before,
        now,
    )


async def hold(tx: Tx, kid: str) -> HeldKey | None:
    """The key, and no rotation of its algorithm until the transaction ends; `None` when the caisse has no such key.

    The signer is locked first, as a rotation does: what follows it is as it is found.
    """
    await tx.execute(
        """
        SELECT kid FROM signing_key
         WHERE algorithm = (SELECT algorithm FROM signing_key WHERE kid = $1) AND (state <> 'archived' OR kid = $1)
         ORDER BY state = 'active' DESC, kid
           FOR UPDATE
        """,
        kid,
    )
    row = await tx.fetchrow(
        """
        SELECT algorithm, CASE WHEN revoked_at IS NULL THEN state ELSE 'revoked' END, revoked_at
          FROM signing_key WHERE kid = $1
        """,
        kid,
    )
    return None if row is None else HeldKey(*row)


async def revoke(tx: Tx, kid: str, now: datetime) -> bool:
    """The key leaves the JWK Set and the hints, and its private half its row; `False` when it had been revoked."""
    return bool(
        await tx.execute(
            """
            UPDATE signing_key
               SET state = 'archived', archived_at = coalesce(archived_at, $2), retired_at = NULL, revoked_at = $2,
                   private_key_encrypted = NULL
             WHERE kid = $1 AND revoked_at IS NULL
            """,
            kid,
            now,
        )
    )


async def signer(tx: Tx, algorithm: str) -> str | None:
    """The kid that signs."""
    return await tx.fetchval(
        "SELECT kid FROM signing_key WHERE algorithm = $1 AND state = 'active'", algorithm
    )


async def revoked(read: Reader) -> list[RevokedKey]:
    """The keys that leaked, newest first."""
    rows = await read.fetch(
        """
        SELECT kid, algorithm, revoked_at FROM signing_key
         WHERE revoked_at IS NOT NULL ORDER BY revoked_at DESC, kid
        """
    )
    return [RevokedKey(*row) for row in rows]


async def due_for_rotation(tx: Tx, *, activated_before: datetime) -> list[Algorithm]:
    """The algorithms whose signer has served long enough."""
    rows = await tx.fetch(
        "SELECT algorithm FROM signing_key WHERE state = 'active' AND activated_at < $1", activated_before
    )
    return [row["algorithm"] for row in rows]

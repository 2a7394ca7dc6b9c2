"""What the kernel reads and what its effects write, in SQL.

One statement loads the whole of a request's snapshot; each effect is one
conditional statement, whose row count says who won.
"""

from datetime import datetime
from uuid import UUID

import msgspec

from libs.common.database.transaction import Row, Tx
from services.identity.openid import effects
from services.identity.openid.buckets import bucket_of
from services.identity.openid.clients import Client, ClientMetadata
from services.identity.openid.snapshot import Code, Grant, Granted, Refresh, Subject

_metadata = msgspec.json.Decoder(ClientMetadata)
_granted = msgspec.json.Decoder(Granted)

CLIENT = """
       client.client_id, client.state AS client_state, client.secret_hash, client.metadata::text AS metadata
"""
GRANT = """
       g.id AS grant_id, g.client_id AS grant_client_id, g.granted::text AS granted, g.created_at AS grant_created_at,
       g.expires_at AS grant_expires_at, g.revoked_at IS NOT NULL AS grant_revoked, g.session_id, g.account_id,
       person.id AS person_id, person.state AS person_state, person.email, person.full_name, person.locale,
       coalesce(session.revoked_at IS NULL AND session.person_id = g.person_id
                AND session.auth_time >= coalesce(person.password_changed_at, session.auth_time), false)
           AS session_is_live,
       account.state AS account_state, coalesce(account.is_administrator, false) AS is_administrator, account.rights,
       adherent.id AS adherent_id, adherent.adherent_number, adherent.state AS adherent_state, adherent.siret,
       adherent.legal_name, adherent.address
"""
GRANT_JOINS = """
  LEFT JOIN person ON person.id = g.person_id
  LEFT JOIN session ON session.id = g.session_id
  LEFT JOIN account ON account.id = g.account_id AND account.person_id = g.person_id
  LEFT JOIN adherent ON adherent.id = account.adherent_id
"""


def client_of(row: Row | None) -> Client | None:
    if row is None or row["metadata"] is None:
        return None
    return Client(
        client_id=row["client_id"],
        state=row["client_state"],
        secret_hash=row["secret_hash"],
        metadata=_metadata.decode(row["metadata"]),
    )


def grant_of(row: Row | None) -> Grant | None:
    if row is None or row["grant_id"] is None or row["person_id"] is None:
        return None
    return Grant(
        id=row["grant_id"],
        client_id=row["grant_client_id"],
        granted=_granted.decode(row["granted"]),
        created_at=row["grant_created_at"],
        expires_at=row["grant_expires_at"],
        revoked=row["grant_revoked"],
        subject=_subject_of(row),
    )


def _subject_of(row: Row) -> Subject:
    return Subject(
        person_id=row["person_id"],
        person_state=row["person_state"],
        email=row["email"],
        full_name=row["full_name"],
        locale=row["locale"],
        session_id=row["session_id"],
        session_is_live=row["session_is_live"],
        account_id=row["account_id"],
        account_state=row["account_state"],
        is_administrator=row["is_administrator"],
        rights=frozenset(row["rights"] or ()),
        adherent_id=row["adherent_id"],
        adherent_number=row["adherent_number"],
        adherent_state=row["adherent_state"],
        siret=row["siret"],
        legal_name=row["legal_name"],
        address=tuple(row["address"] or ()),
    )


async def load_client(tx: Tx, client_id: str) -> Client | None:
    row = await tx.fetchrow(f"SELECT {CLIENT} FROM client WHERE client_id = $1", client_id)
    return client_of(row)


async def load_for_code(tx: Tx, client_id: str, code_hash: bytes) -> tuple[Client | None, Code | None]:
    """Client, code, grant and subject at once."""
    row = await tx.fetchrow(
        f"""
        SELECT {CLIENT}, {GRANT},
               code.redirect_uri, code.code_challenge, code.dpop_jkt, code.nonce,
               code.expires_at AS code_expires_at, code.consumed_at IS NOT NULL AS consumed
          FROM (VALUES (1)) AS one
          LEFT JOIN client ON client.client_id = $1
          LEFT JOIN authorization_code AS code ON code.code_hash = $2
          LEFT JOIN authorization_grant AS g ON g.id = code.grant_id
        {GRANT_JOINS}
        """,
        client_id, code_hash,
    )  # fmt: skip
    grant = grant_of(row)
    if row is None or grant is None:
        return client_of(row), None
    return client_of(row), Code(
        code_hash=code_hash,
        grant=grant,
        redirect_uri=row["redirect_uri"],
        code_challenge=row["code_challenge"],
        dpop_jkt=row["dpop_jkt"],
        nonce=row["nonce"],
        expires_at=row["code_expires_at"],
        consumed=row["consumed"],
    )


async def load_for_refresh(tx: Tx, client_id: str, token_hash: bytes) -> tuple[Client | None, Refresh | None]:
    """Client, refresh token, grant and subject at once."""
    row = await tx.fetchrow(
        f"""
        SELECT {CLIENT}, {GRANT},
               token.dpop_jkt, token.expires_at AS token_expires_at, token.spent_at IS NOT NULL AS spent
          FROM (VALUES (1)) AS one
          LEFT JOIN client ON client.client_id = $1
          LEFT JOIN refresh_token AS token ON token.token_hash = $2
          LEFT JOIN authorization_grant AS g ON g.id = token.grant_id
        {GRANT_JOINS}
        """,
        client_id, token_hash,
    )  # fmt: skip
    grant = grant_of(row)
    if row is None or grant is None:
        return client_of(row), None
    return client_of(row), Refresh(
        token_hash=token_hash,
        grant=grant,
        dpop_jkt=row["dpop_jkt"],
        expires_at=row["token_expires_at"],
        spent=row["spent"],
    )


async def load_for_token(
    tx: Tx, client_id: str, grant_id: UUID | None, jti: str | None
) -> tuple[Client | None, Grant | None, bool]:
    """Client, the grant behind a presented access token, and whether that token was revoked by itself."""
    row = await tx.fetchrow(
        f"""
        SELECT {CLIENT}, {GRANT},
               EXISTS (SELECT FROM revoked_token WHERE revoked_token.jti = $3) AS token_is_revoked
          FROM (VALUES (1)) AS one
          LEFT JOIN client ON client.client_id = $1
          LEFT JOIN authorization_grant AS g ON g.id = $2
        {GRANT_JOINS}
        """,
        client_id, grant_id, jti,
    )  # fmt: skip
    return client_of(row), grant_of(row), bool(row and row["token_is_revoked"])


# Effects: each returns whether it found its row as the decision saw it.


async def remember_jti(tx: Tx, effect: effects.RememberJti) -> bool:
    bucket = int(effect.expires_at.timestamp()) // 900 % 4
    return await tx.execute(
        """
        INSERT INTO seen_jti (caisse, bucket, kind, party, jti, expires_at) VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT DO NOTHING
        """,
        tx.the_caisse, bucket, effect.kind, effect.party, effect.jti, effect.expires_at,
    ) == 1  # fmt: skip


async def revoke_grant(tx: Tx, effect: effects.RevokeGrant) -> None:
    await tx.execute(
        "UPDATE authorization_grant SET revoked_at = $2, revoked_why = $3 WHERE id = $1 AND revoked_at IS NULL",
        effect.grant_id, effect.at, effect.why,
    )  # fmt: skip


async def consume_code(tx: Tx, effect: effects.ConsumeCode) -> bool:
    return await tx.execute(
        """
        UPDATE authorization_code SET consumed_at = $2
         WHERE code_hash = $1 AND consumed_at IS NULL AND expires_at > $2
        """,
        effect.code_hash, effect.at,
    ) == 1  # fmt: skip


async def store_refresh(tx: Tx, effect: effects.StoreRefresh) -> None:
    await tx.execute(
        """
        INSERT INTO refresh_token (caisse, token_hash, grant_id, dpop_jkt, issued_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6)
        """,
        tx.the_caisse, effect.token_hash, effect.grant_id, effect.dpop_jkt, effect.issued_at, effect.expires_at,
    )  # fmt: skip


async def rotate_refresh(tx: Tx, effect: effects.RotateRefresh) -> bool:
    """Spend the old and store the new in one statement: fifty at once find one winner."""
    new = effect.new
    return await tx.execute(
        """
        WITH spent AS (
            UPDATE refresh_token SET spent_at = $6
             WHERE token_hash = $2 AND spent_at IS NULL AND expires_at > $6
            RETURNING grant_id
        )
        INSERT INTO refresh_token (caisse, token_hash, grant_id, dpop_jkt, issued_at, expires_at)
        SELECT $1, $3, spent.grant_id, $5, $6, $7 FROM spent WHERE spent.grant_id = $4
        """,
        tx.the_caisse, effect.old_hash, new.token_hash, new.grant_id, new.dpop_jkt, new.issued_at, new.expires_at,
    ) == 1  # fmt: skip


async def prolong_refresh(tx: Tx, effect: effects.ProlongRefresh) -> bool:
    """The idle expiry moves, at most once a minute: a busy client then costs no write."""
    await tx.execute(
        """
        UPDATE refresh_token SET expires_at = $2
         WHERE token_hash = $1 AND spent_at IS NULL AND expires_at < $2::timestamptz - interval '1 minute'
        """,
        effect.token_hash, effect.expires_at,
    )  # fmt: skip
    return True


async def revoke_token(tx: Tx, effect: effects.RevokeToken) -> None:
    await tx.execute(
        "INSERT INTO revoked_token (caisse, jti, expires_at, bucket) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        tx.the_caisse, effect.jti, effect.expires_at, bucket_of("revoked_token", effect.expires_at),
    )  # fmt: skip


async def store_pushed(tx: Tx, effect: effects.StorePushedRequest) -> None:
    await tx.execute(
        """
        INSERT INTO pushed_request (caisse, handle_hash, client_id, request, expires_at, bucket)
        VALUES ($1, $2, $3, $4::text::jsonb, $5, $6)
        """,
        tx.the_caisse, effect.handle_hash, effect.client_id, effect.request.decode(), effect.expires_at,
        bucket_of("pushed_request", effect.expires_at),
    )  # fmt: skip


async def spend_pushed(tx: Tx, effect: effects.SpendPushedRequest) -> bool:
    return await tx.execute(
        "UPDATE pushed_request SET spent_at = $2 WHERE handle_hash = $1 AND spent_at IS NULL",
        effect.handle_hash, effect.at,
    ) == 1  # fmt: skip


async def store_grant(tx: Tx, effect: effects.StoreGrant) -> None:
    await tx.execute(
        """
        WITH granted AS (
            INSERT INTO authorization_grant (caisse, id, client_id, person_id, session_id, account_id, granted,
                                             created_at, expires_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7::text::jsonb, $8, $9)
        )
        INSERT INTO authorization_code (caisse, code_hash, grant_id, redirect_uri, code_challenge, dpop_jkt, nonce,
                                        expires_at, bucket)
        VALUES ($1, $10, $2, $11, $12, $13, $14, $15, $16)
        """,
        tx.the_caisse, effect.grant_id, effect.client_id, effect.person_id, effect.session_id, effect.account_id,
        effect.granted.decode(), effect.at, effect.expires_at, effect.code_hash, effect.redirect_uri,
        effect.code_challenge, effect.dpop_jkt, effect.nonce, effect.code_expires_at,
        bucket_of("authorization_code", effect.code_expires_at),
    )  # fmt: skip


async def finish_flow(tx: Tx, effect: effects.FinishFlow) -> bool:
    return await tx.execute(
        "UPDATE authorization_flow SET finished_at = $2 WHERE id = $1 AND finished_at IS NULL",
        effect.flow_id, effect.at,
    ) == 1  # fmt: skip


async def remember_consent(tx: Tx, effect: effects.RememberConsent) -> None:
    await tx.execute(
        """
        INSERT INTO consent (caisse, id, person_id, client_id, account_id, scopes, details, given_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7::text::jsonb, $8, $9)
        """,
        tx.the_caisse, effect.consent_id, effect.person_id, effect.client_id, effect.account_id,
        list(effect.scopes), effect.details.decode(), effect.given_at, effect.expires_at,
    )  # fmt: skip


async def pushed_request(tx: Tx, handle_hash: bytes) -> tuple[str, bytes, datetime, bool] | None:
    """Client, request, expiry, and whether it was spent."""
    row = await tx.fetchrow(
        """
        SELECT client_id, request::text AS request, expires_at, spent_at IS NOT NULL AS spent
          FROM pushed_request WHERE handle_hash = $1
        """,
        handle_hash,
    )
    return (
        None if row is None else (row["client_id"], row["request"].encode(), row["expires_at"], row["spent"])
    )

"""The SQL of the floor: what a correct answer must read and write, with row-level security as we run it.

A read is one message and a write another. Rows are looked for in their own partitions, as their names say.
"""

IN_FORCE = """
       g.revoked_at IS NULL AND person.state = 'active' AND session.revoked_at IS NULL
       AND session.auth_time >= coalesce(person.password_changed_at, session.auth_time)
       AND coalesce(account.state = 'active' AND adherent.state = 'member', g.account_id IS NULL) AS in_force
"""
GRANT_JOINS = """
  LEFT JOIN person ON person.id = g.person_id
  LEFT JOIN session ON session.id = g.session_id
  LEFT JOIN account ON account.id = g.account_id AND account.person_id = g.person_id
  LEFT JOIN LATERAL (
      SELECT state FROM adherent WHERE adherent.id = account.adherent_id OFFSET 0
  ) AS adherent ON true
"""
OF_THE_ROW = """
  LEFT JOIN LATERAL (
      SELECT * FROM authorization_grant AS g WHERE g.id = {row}.grant_id AND g.bucket BETWEEN $5 AND $6 OFFSET 0
  ) AS g ON true
"""
"""One grant by its key. A plain join lets the planner, while the tables are small, keep a plan that reads every grant
of the caisse; OFFSET 0 holds it to the key."""


def seen(sql: str, place: int) -> str:
    """`sql` as the caisse in parameter `place` sees it, in one message."""
    return f"""
        SELECT found.*
          FROM (SELECT set_config('espace.caisse', ${place}, true) AS caisse OFFSET 0) AS tenant
         CROSS JOIN LATERAL (SELECT asked.* FROM ({sql}) AS asked WHERE tenant.caisse IS NOT NULL OFFSET 0) AS found
        """


CLIENT = seen(
    """
    SELECT client.state = 'active' AS is_active, client.secret_hash, client.metadata::text AS metadata
      FROM client WHERE client_id = $1
    """,
    2,
)
"""Client id, caisse."""

REMEMBER_JTI = """
    INSERT INTO seen_jti (caisse, bucket, kind, party, jti, expires_at)
    VALUES (set_config('espace.caisse', $1, true), $2, 'assertion', $3, $4, $5)
    ON CONFLICT DO NOTHING RETURNING true
"""

_OF_THE_TOKEN = f"""
           g.granted::text AS granted, person.email, person.full_name, person.locale, {IN_FORCE},
           EXISTS (SELECT FROM revoked_token AS revoked WHERE revoked.jti = $3 AND revoked.bucket = $5) AS is_revoked
"""

USERINFO = seen(
    f"""
    SELECT client.state = 'active' AS is_active, {_OF_THE_TOKEN}
      FROM (VALUES (1)) AS one
      LEFT JOIN client ON client.client_id = $1
      LEFT JOIN authorization_grant AS g ON g.id = $2 AND g.bucket = $4
      {GRANT_JOINS}
    """,
    6,
)
"""The token's client, grant, jti, the grant's bucket, that of its revocation, caisse."""

INTROSPECTION = seen(
    f"""
    SELECT client.secret_hash, client.state = 'active' AS is_active, holder.state = 'active' AS holder_is_active,
           {_OF_THE_TOKEN}
      FROM (VALUES (1)) AS one
      LEFT JOIN client ON client.client_id = $1
      LEFT JOIN client AS holder ON holder.client_id = $6
      LEFT JOIN authorization_grant AS g ON g.id = $2 AND g.bucket = $4
      {GRANT_JOINS}
    """,
    7,
)
"""The client that asks, then as above, the token's client, caisse."""

REFRESH = seen(
    f"""
    SELECT client.secret_hash, client.state = 'active' AS is_active, g.id AS grant_id, g.client_id,
           g.granted::text AS granted, g.expires_at AS grant_expires_at, g.session_id, g.person_id,
           account.adherent_id, token.expires_at, token.spent_at, {IN_FORCE}
      FROM (VALUES (1)) AS one
      LEFT JOIN client ON client.client_id = $1
      LEFT JOIN refresh_token AS token ON token.token_hash = $2 AND token.bucket BETWEEN $3 AND $4
      {OF_THE_ROW.format(row="token")}
      {GRANT_JOINS}
    """,
    7,
)
"""Client id, hash of the token, its buckets, those of its grant, caisse."""

PROLONG = """
    UPDATE refresh_token SET expires_at = $3
     WHERE (SELECT set_config('espace.caisse', $1, true)) IS NOT NULL
       AND token_hash = $2 AND bucket BETWEEN $4 AND $5 AND spent_at IS NULL
"""

CODE = seen(
    f"""
    SELECT client.secret_hash, client.state = 'active' AS is_active, g.id AS grant_id, g.client_id,
           g.granted::text AS granted, g.expires_at AS grant_expires_at, g.session_id, g.person_id,
           account.adherent_id, code.redirect_uri, code.code_challenge, code.nonce, code.expires_at,
           code.consumed_at, {IN_FORCE}
      FROM (VALUES (1)) AS one
      LEFT JOIN client ON client.client_id = $1
      LEFT JOIN authorization_code AS code ON code.code_hash = $2 AND code.bucket BETWEEN $3 AND $4
      {OF_THE_ROW.format(row="code")}
      {GRANT_JOINS}
    """,
    7,
)
"""Client id, hash of the code, its buckets, those of its grant, caisse."""

CONSUME_CODE = """
    WITH consumed AS (
        UPDATE authorization_code SET consumed_at = $3
         WHERE (SELECT set_config('espace.caisse', $1, true)) IS NOT NULL
           AND code_hash = $2 AND bucket BETWEEN $4 AND $5 AND consumed_at IS NULL AND expires_at > $3
        RETURNING grant_id
    )
    INSERT INTO refresh_token (caisse, token_hash, grant_id, issued_at, expires_at, bucket)
    SELECT set_config('espace.caisse', $1, true), $6, grant_id, $3, $7, $8 FROM consumed RETURNING true
"""

BROWSER = seen(
    """
    SELECT client.state = 'active' AS is_active, client.metadata::text AS metadata,
           session.id AS session_id, session.auth_time, session.acr, session.amr, session.person_id,
           account.id AS account_id, account.adherent_id,
           EXISTS (SELECT FROM collaborator
                    WHERE collaborator.person_id = person.id AND collaborator.state = 'active') AS works_in_a_cabinet
      FROM (VALUES (1)) AS one
      LEFT JOIN client ON client.client_id = $1
      LEFT JOIN session ON session.token_hash = $2 AND session.revoked_at IS NULL
                       AND session.last_seen_at > $3 AND session.created_at > $4
      LEFT JOIN person ON person.id = session.person_id AND person.state = 'active'
      LEFT JOIN account ON account.person_id = person.id AND account.state = 'active'
    """,
    5,
)
"""Client id, hash of the cookie, idle since, opened since, caisse."""

STORE_GRANT = """
    WITH granted AS (
        INSERT INTO authorization_grant (caisse, id, client_id, person_id, session_id, account_id, granted,
                                         created_at, expires_at, bucket)
        VALUES (set_config('espace.caisse', $1, true), $2, $3, $4, $5, $6, $7::text::jsonb, $8, $9, $19)
    ), noted AS (
        INSERT INTO journal (id, caisse, at, action, subject_kind, subject_id, adherent_id, person_id, details)
        VALUES ($15, set_config('espace.caisse', $1, true), $8, 'authorization.granted', 'client', $3, $16, $4,
                $17::text::jsonb)
    )
    INSERT INTO authorization_code (caisse, code_hash, grant_id, redirect_uri, code_challenge, nonce, expires_at,
                                    bucket)
    VALUES (set_config('espace.caisse', $1, true), $10, $2, $11, $12, $13, $14, $18)
    RETURNING true
"""

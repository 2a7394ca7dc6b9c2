// The adapter that oidc-provider asks for, on PostgreSQL: one table, indexed as its example adapters are.
import pg from "pg";

export async function postgresAdapter(dsn) {
  const pool = new pg.Pool({ connectionString: dsn, max: 10 });
  await pool.query(`
    CREATE TABLE IF NOT EXISTS oidc_payload (
      kind text NOT NULL, id text NOT NULL, payload jsonb NOT NULL, grant_id text, user_code text, uid text,
      expires_at timestamptz, consumed_at timestamptz, PRIMARY KEY (kind, id));
    CREATE INDEX IF NOT EXISTS oidc_payload_grant ON oidc_payload (grant_id) WHERE grant_id IS NOT NULL;
    CREATE INDEX IF NOT EXISTS oidc_payload_uid ON oidc_payload (uid) WHERE uid IS NOT NULL;`);
  // Named statements are prepared once a connection.
  const run = (name, text, values) => pool.query({ name, text, values });
  const read = (found) => {
    const row = found.rows[0];
    return row && { ...row.payload, ...(row.consumed_at ? { consumed: Math.floor(row.consumed_at / 1000) } : {}) };
  };
  const ALIVE = "(expires_at IS NULL OR expires_at > now())";

  return class PostgresAdapter {
    constructor(kind) { this.kind = kind; }

    async upsert(id, payload, expiresIn) {
      await run("upsert",
        `INSERT INTO oidc_payload (kind, id, payload, grant_id, user_code, uid, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, now() + $7 * interval '1 second')
         ON CONFLICT (kind, id) DO UPDATE SET payload = excluded.payload, grant_id = excluded.grant_id,
           user_code = excluded.user_code, uid = excluded.uid, expires_at = excluded.expires_at`,
        [this.kind, id, payload, payload.grantId, payload.userCode, payload.uid, expiresIn ?? null]);
    }
    async find(id) {
      return read(await run("find",
        `SELECT payload, consumed_at FROM oidc_payload WHERE kind = $1 AND id = $2 AND ${ALIVE}`, [this.kind, id]));
    }
    async findByUid(uid) {
      return read(await run("by_uid",
        `SELECT payload, consumed_at FROM oidc_payload WHERE kind = $1 AND uid = $2 AND ${ALIVE}`, [this.kind, uid]));
    }
    async findByUserCode(code) {
      return read(await run("by_code",
        `SELECT payload, consumed_at FROM oidc_payload WHERE kind = $1 AND user_code = $2`, [this.kind, code]));
    }
    async consume(id) {
      await run("consume", "UPDATE oidc_payload SET consumed_at = now() WHERE kind = $1 AND id = $2", [this.kind, id]);
    }
    async destroy(id) {
      await run("destroy", "DELETE FROM oidc_payload WHERE kind = $1 AND id = $2", [this.kind, id]);
    }
    async revokeByGrantId(grant) {
      await run("revoke", "DELETE FROM oidc_payload WHERE grant_id = $1", [grant]);
    }
  };
}

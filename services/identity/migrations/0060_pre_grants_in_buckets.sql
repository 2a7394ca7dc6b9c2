-- Grants and refresh tokens are forgotten as codes are: sixteen buckets of a week
-- by the grant's last instant, which never moves, take turns, and the one whose time
-- is over is emptied by TRUNCATE. A session's grant lives 12 hours, an offline one
-- 90 days: the living fill fourteen weeks at most (docs/decisions/0060).
--
-- Bucket 16 is for the version before, which names none: what it wrote, and what it
-- writes while both versions serve. The former table becomes that bucket as it is,
-- so that no row is copied; it dies out in 90 days and is emptied whole then.

DO $$
DECLARE
    made record;
    slot integer;
    part text;
BEGIN
    FOR made IN
        SELECT * FROM (VALUES ('authorization_grant', 'id'), ('refresh_token', 'token_hash')) AS t (name, key)
    LOOP
        part := made.name || '_former';
        EXECUTE format('ALTER TABLE %I RENAME TO %I', made.name, part);
        EXECUTE format('ALTER TABLE %I ADD COLUMN bucket smallint NOT NULL DEFAULT 16', part);
        EXECUTE format('ALTER TABLE %I DROP CONSTRAINT %I', part, made.name || '_pkey');
        EXECUTE format('ALTER TABLE %I ADD CONSTRAINT %I PRIMARY KEY (caisse, %I, bucket)',
                       part, part || '_pkey', made.key);
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS) PARTITION BY LIST (bucket)',
                       made.name, part);
        EXECUTE format('ALTER TABLE %I ADD CONSTRAINT %I PRIMARY KEY (caisse, %I, bucket)',
                       made.name, made.name || '_pkey', made.key);
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES IN (16)', made.name, part);
        FOR slot IN 0..15 LOOP
            -- Room on each page, so that a row marked as spent, prolonged or revoked stays on its own.
            EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES IN (%s) WITH (fillfactor = 90)',
                           made.name || '_' || slot, made.name, slot);
        END LOOP;
        PERFORM protect_by_caisse(made.name::regclass);
        PERFORM open_to_relay(made.name::regclass, 'SELECT, DELETE');
    END LOOP;
END $$;
-- The sweep asks the former bucket alone whether anything in it still lives; its indexes
-- by expiry are there. Nobody looks refresh tokens up by their grant.
DROP INDEX refresh_token_grant;
ALTER INDEX authorization_grant_session RENAME TO authorization_grant_former_session;
ALTER INDEX authorization_grant_person RENAME TO authorization_grant_former_person;
CREATE INDEX authorization_grant_session ON authorization_grant (caisse, session_id);
CREATE INDEX authorization_grant_person ON authorization_grant (caisse, person_id, client_id);

-- An UPDATE that moved a row to another bucket would hide it from its own name: PostgreSQL refuses it.
DO $$
DECLARE
    kept record;
    app text := current_schema() || '_app';
BEGIN
    FOR kept IN
        SELECT * FROM (VALUES
            ('authorization_grant', 'revoked_at, revoked_why'),
            ('refresh_token', 'spent_at, expires_at'),
            ('authorization_code', 'consumed_at'),
            ('pushed_request', 'spent_at'),
            ('authorization_flow', 'request, session_id, account_id, context_chosen, person_confirmed, consented_at, '
                                   'created_at, finished_at'),
            ('revoked_token', '')
        ) AS t (name, moving)
    LOOP
        EXECUTE format('REVOKE UPDATE ON %I FROM %I', kept.name, app);
        IF kept.moving <> '' THEN
            EXECUTE format('GRANT UPDATE (%s) ON %I TO %I', kept.moving, kept.name, app);
        END IF;
    END LOOP;
END $$;

-- A partition is nobody's to read but through its parent, the owner's migrations apart.
DO $$
DECLARE
    part regclass;
BEGIN
    FOR part IN
        SELECT inhrelid::regclass FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
         WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace
           AND inhparent IN ('authorization_grant'::regclass, 'refresh_token'::regclass, 'authorization_code'::regclass,
                             'pushed_request'::regclass, 'authorization_flow'::regclass, 'revoked_token'::regclass)
    LOOP
        EXECUTE format('REVOKE ALL ON %s FROM %I, %I', part, current_schema() || '_app', current_schema() || '_relay');
        EXECUTE format('DROP POLICY IF EXISTS of_one_caisse ON %s', part);
        EXECUTE format('DROP POLICY IF EXISTS swept_by_relay ON %s', part);
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', part);
        EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', part);
        PERFORM open_to_migrations(part);
    END LOOP;
END $$;

-- The sweeper owns nothing: it may empty these buckets and no other table.
CREATE OR REPLACE FUNCTION empty_openid_bucket(name text, bucket integer) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET lock_timeout = '500ms' AS $$
DECLARE
    part text := name || '_' || bucket;
BEGIN
    IF NOT (name IN ('authorization_code', 'pushed_request', 'authorization_flow', 'revoked_token')
            AND bucket BETWEEN 0 AND 3
            OR name IN ('authorization_grant', 'refresh_token') AND bucket BETWEEN 0 AND 15) THEN
        RAISE EXCEPTION 'no such bucket';
    END IF;
    -- An empty one is left alone: TRUNCATE would make every reader wait for nothing.
    IF pg_relation_size(part::regclass) = 0 THEN
        RETURN false;
    END IF;
    EXECUTE format('TRUNCATE %I', part);
    RETURN true;
END $$;

-- The bucket of the version before is emptied once everything in it has been over since `before`.
CREATE FUNCTION empty_former_openid_bucket(name text, before timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET lock_timeout = '500ms' AS $$
DECLARE
    part text := name || '_former';
    lives boolean;
BEGIN
    IF name NOT IN ('authorization_grant', 'refresh_token') THEN
        RAISE EXCEPTION 'no such bucket';
    END IF;
    IF pg_relation_size(part::regclass) = 0 THEN
        RETURN false;
    END IF;
    -- Row-level security holds the owner too; it sees the bucket for the length of this transaction.
    PERFORM set_config('espace.migrating', 'on', true);
    EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE expires_at >= $1)', part) INTO lives USING before;
    IF lives THEN
        RETURN false;
    END IF;
    -- Asked again under the lock: a process of the version before may have written in between.
    EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', part);
    EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE expires_at >= $1)', part) INTO lives USING before;
    IF NOT lives THEN
        EXECUTE format('TRUNCATE %I', part);
    END IF;
    RETURN NOT lives;
END $$;
DO $$ BEGIN
    EXECUTE format('ALTER FUNCTION empty_openid_bucket(text, integer) SET search_path = %I, pg_temp', current_schema());
    EXECUTE format('ALTER FUNCTION empty_former_openid_bucket(text, timestamptz) SET search_path = %I, pg_temp',
                   current_schema());
    REVOKE ALL ON FUNCTION empty_former_openid_bucket(text, timestamptz) FROM PUBLIC;
    EXECUTE format('GRANT EXECUTE ON FUNCTION empty_former_openid_bucket(text, timestamptz) TO %I',
                   current_schema() || '_relay');
END $$;

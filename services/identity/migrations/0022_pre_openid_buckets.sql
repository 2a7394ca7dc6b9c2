-- Codes, pushed requests, flows and revoked tokens live minutes and come with
-- every sign-in. Deleted one by one they leave their space behind. Four fixed
-- buckets by expiry take turns instead: the one whose time is over is emptied by
-- TRUNCATE, and the size follows the load, never the years.
--
-- Width: a day for codes (a replay is recognised for one day at least), an hour
-- for the others. The default is for the version before, which names no bucket:
-- it may only put a row one bucket early, and a bucket rests for one whole width
-- after its last expiry. Nobody reads a partition but through its parent.

DO $$
DECLARE
    made record;
    columns text;
    slot integer;
BEGIN
    FOR made IN
        SELECT * FROM (VALUES
            ('authorization_code', 'code_hash', 86400),
            ('pushed_request', 'handle_hash', 3600),
            ('authorization_flow', 'id', 3600),
            ('revoked_token', 'jti', 3600)
        ) AS t (name, key, width)
    LOOP
        EXECUTE format('ALTER TABLE %I RENAME TO %I', made.name, made.name || '_former');
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS, '
                       'bucket smallint NOT NULL CHECK (bucket BETWEEN 0 AND 3) '
                       'DEFAULT (extract(epoch FROM now())::bigint / %s %% 4)) PARTITION BY LIST (bucket)',
                       made.name, made.name || '_former', made.width);
        FOR slot IN 0..3 LOOP
            EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES IN (%s)',
                           made.name || '_' || slot, made.name, slot);
        END LOOP;
        SELECT string_agg(quote_ident(attname), ', ') INTO columns FROM pg_attribute
         WHERE attrelid = (made.name || '_former')::regclass AND attnum > 0 AND NOT attisdropped;
        EXECUTE format('INSERT INTO %I (%s, bucket) SELECT %s, extract(epoch FROM expires_at)::bigint / %s %% 4 FROM %I',
                       made.name, columns, columns, made.width, made.name || '_former');
        EXECUTE format('DROP TABLE %I', made.name || '_former');
        EXECUTE format('ALTER TABLE %I ADD PRIMARY KEY (caisse, %I, bucket)', made.name, made.key);
        PERFORM protect_by_caisse(made.name::regclass);
        PERFORM open_to_relay(made.name::regclass, 'SELECT, DELETE');
    END LOOP;
END $$;

-- The sweeper owns nothing: it may empty these buckets and no other table.
CREATE FUNCTION empty_openid_bucket(name text, bucket integer) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET lock_timeout = '500ms' AS $$
DECLARE
    holds boolean;
BEGIN
    IF name NOT IN ('authorization_code', 'pushed_request', 'authorization_flow', 'revoked_token')
       OR bucket NOT BETWEEN 0 AND 3 THEN
        RAISE EXCEPTION 'no such bucket';
    END IF;
    -- An empty one is left alone: TRUNCATE would make every reader wait for nothing.
    EXECUTE format('SELECT EXISTS (SELECT FROM %I)', name || '_' || bucket) INTO holds;
    IF holds THEN
        EXECUTE format('TRUNCATE %I', name || '_' || bucket);
    END IF;
    RETURN holds;
END $$;
DO $$ BEGIN
    EXECUTE format('ALTER FUNCTION empty_openid_bucket(text, integer) SET search_path = %I, pg_temp', current_schema());
    REVOKE ALL ON FUNCTION empty_openid_bucket(text, integer) FROM PUBLIC;
    EXECUTE format('GRANT EXECUTE ON FUNCTION empty_openid_bucket(text, integer) TO %I', current_schema() || '_relay');
END $$;

-- Grants and refresh tokens live hours to months and move as they are used:
-- deleted row by row, their space is given back early and used again.
ALTER TABLE authorization_grant SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000,
                                     autovacuum_vacuum_cost_delay = 0, fillfactor = 90);
ALTER TABLE refresh_token SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000,
                               autovacuum_vacuum_cost_delay = 0, fillfactor = 90);

-- The ground every service's schema stands on; run by the owner before its
-- own migrations, and again at each change (every statement is idempotent).

-- The owner too is held by row-level security: it sees no row, but while the
-- migration runner says so, for a backfill must reach every caisse.
CREATE OR REPLACE FUNCTION open_to_migrations(target regclass) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('DROP POLICY IF EXISTS of_migrations ON %s', target);
    EXECUTE format(
        'CREATE POLICY of_migrations ON %s TO %I '
        'USING (current_setting(''espace.migrating'', true) = ''on'') '
        'WITH CHECK (current_setting(''espace.migrating'', true) = ''on'')',
        target, current_schema() || '_owner');
END $$;

CREATE OR REPLACE FUNCTION protect_by_caisse(target regclass) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM open_to_migrations(target);
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', target);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', target);
    EXECUTE format('DROP POLICY IF EXISTS of_one_caisse ON %s', target);
    -- An unset or empty caisse equals no row's, so it shows nothing. Read in a SELECT of its own: the planner,
    -- at work before the caisse is set, would else count on the unset one, expect no row of any table, and
    -- read whole tables where it should look a key up (measured: 15 ms for a refresh among 40,000, not 0.1).
    EXECUTE format(
        'CREATE POLICY of_one_caisse ON %s TO %I '
        'USING (caisse = (SELECT current_setting(''espace.caisse'', true))) '
        'WITH CHECK (caisse = (SELECT current_setting(''espace.caisse'', true)))',
        target, current_schema() || '_app');
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO %I', target, current_schema() || '_app');
END $$;

CREATE OR REPLACE FUNCTION open_to_relay(target regclass, privileges text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('DROP POLICY IF EXISTS swept_by_relay ON %s', target);
    EXECUTE format('CREATE POLICY swept_by_relay ON %s TO %I USING (true) WITH CHECK (true)',
                   target, current_schema() || '_relay');
    EXECUTE format('GRANT %s ON %s TO %I', privileges, target, current_schema() || '_relay');
END $$;

CREATE OR REPLACE FUNCTION platform_wide(target regclass) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('COMMENT ON TABLE %s IS ''platform-wide''', target);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO %I', target, current_schema() || '_app');
    EXECUTE format('GRANT SELECT ON %s TO %I', target, current_schema() || '_relay');
END $$;

CREATE TABLE IF NOT EXISTS outbox (
    event_id    uuid PRIMARY KEY,
    caisse      text NOT NULL,
    subject     text NOT NULL,
    body        bytea NOT NULL,
    -- Ties in recorded_at need an order; never a cursor, since positions commit out of order.
    position    bigint GENERATED ALWAYS AS IDENTITY,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    sent_at     timestamptz
);
CREATE INDEX IF NOT EXISTS outbox_unsent ON outbox (position) WHERE sent_at IS NULL;
CREATE INDEX IF NOT EXISTS outbox_urgent ON outbox (position) WHERE sent_at IS NULL AND subject LIKE '%.authz.%';
CREATE INDEX IF NOT EXISTS outbox_age ON outbox (recorded_at);
SELECT protect_by_caisse('outbox');
SELECT open_to_relay('outbox', 'SELECT, UPDATE, DELETE');

-- Which incarnation of a stream the outbox has filled: another one means that the broker lost it.
CREATE TABLE IF NOT EXISTS stream_epoch (
    stream      text PRIMARY KEY,
    created     text NOT NULL,
    noticed_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    refilled_at timestamptz
);
COMMENT ON TABLE stream_epoch IS 'platform-wide';
DO $$ BEGIN
    EXECUTE format('GRANT SELECT, INSERT, UPDATE ON stream_epoch TO %I', current_schema() || '_relay');
END $$;

CREATE TABLE IF NOT EXISTS inbox (
    caisse   text NOT NULL,
    consumer text NOT NULL,
    event_id uuid NOT NULL,
    heard_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, event_id)
);
CREATE INDEX IF NOT EXISTS inbox_age ON inbox (heard_at);
SELECT protect_by_caisse('inbox');
SELECT open_to_relay('inbox', 'SELECT, DELETE');

CREATE TABLE IF NOT EXISTS dead_letter (
    caisse   text NOT NULL,
    consumer text NOT NULL,
    event_id uuid NOT NULL,
    subject  text NOT NULL,
    body     bytea NOT NULL,
    reason   text NOT NULL,
    at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, event_id)
);
SELECT protect_by_caisse('dead_letter');
SELECT open_to_relay('dead_letter', 'SELECT, INSERT, DELETE');

CREATE TABLE IF NOT EXISTS journal (
    id              uuid PRIMARY KEY,
    caisse          text NOT NULL,
    at              timestamptz NOT NULL,
    action          text NOT NULL,
    subject_kind    text NOT NULL,
    subject_id      text NOT NULL,
    adherent_id     uuid,
    person_id       uuid,
    cabinet_id      uuid,
    mandate_id      uuid,
    mandate_version integer,
    token_jti       text,
    details         jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX IF NOT EXISTS journal_of_adherent ON journal (adherent_id, at DESC);
SELECT protect_by_caisse('journal');
DO $$ BEGIN
    -- Evidence is only ever added.
    EXECUTE format('REVOKE UPDATE, DELETE ON journal FROM %I', current_schema() || '_app');
END $$;

DO $$
DECLARE
    protected regclass;
BEGIN
    FOR protected IN
        SELECT polrelid::regclass FROM pg_policy
          JOIN pg_class ON pg_class.oid = polrelid
         WHERE polname = 'of_one_caisse' AND relnamespace = current_schema()::regnamespace
    LOOP
        PERFORM open_to_migrations(protected);
        -- Tables protected before the policy was worded so.
        EXECUTE format(
            'ALTER POLICY of_one_caisse ON %s '
            'USING (caisse = (SELECT current_setting(''espace.caisse'', true))) '
            'WITH CHECK (caisse = (SELECT current_setting(''espace.caisse'', true)))',
            protected);
    END LOOP;
END $$;

-- The floors that identity itself judges by: what introspection refuses as the services do, and what a decision
-- that gives tokens looks at once more when it is written. One row a subject, for as long as a token of before lives.
-- `name` is kind/key as tokens carry the key (a client's: client/caisse/client_id).
CREATE TABLE revocation_floor (
    name       text        PRIMARY KEY,
    not_before timestamptz NOT NULL,
    raised_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Whether a decision saw it is a matter of snapshots, not of clocks.
    raised_by  xid8        NOT NULL DEFAULT pg_current_xact_id()
);
SELECT platform_wide('revocation_floor');
SELECT open_to_relay('revocation_floor', 'SELECT, DELETE');
CREATE INDEX revocation_floor_age ON revocation_floor (raised_at);

-- Whether nothing that a token names has been revoked since its decision was read, in the snapshot `seen`. Shared
-- locks until the decision is committed: whoever revokes waits for them before it dates its floor, and a decision
-- that comes later waits for the revocation. VOLATILE: the second statement sees what was committed while the first
-- waited. No decision takes a minute, and transaction numbers of another cluster (a restored dump) prove nothing.
CREATE FUNCTION still_stands(names text[], seen pg_snapshot) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(hashtextextended(name, 120)) FROM unnest(names) AS name;
    RETURN NOT EXISTS (
        SELECT FROM revocation_floor AS floor
         WHERE floor.name = ANY (names)
           AND floor.raised_at > clock_timestamp() - interval '1 minute'
           AND NOT pg_visible_in_snapshot(floor.raised_by, seen));
END $$;

-- DPoP proofs seen (RFC 9449 §11.1). Logged, so that a crash forgets none; four
-- slots, emptied whole in turn, so that the size follows the load.
CREATE TABLE dpop_proof (
    slot       smallint NOT NULL,
    memory_key bytea NOT NULL,
    PRIMARY KEY (slot, memory_key)
) PARTITION BY LIST (slot);
SELECT platform_wide('dpop_proof');

DO $$ BEGIN
    FOR slot IN 0..3 LOOP
        EXECUTE format('CREATE TABLE dpop_proof_%s PARTITION OF dpop_proof FOR VALUES IN (%s)', slot, slot);
        EXECUTE format('COMMENT ON TABLE dpop_proof_%s IS ''platform-wide''', slot);
    END LOOP;
END $$;

-- The sweeper owns nothing: it may truncate these four tables and no other.
CREATE FUNCTION empty_dpop_slot(slot integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET lock_timeout = '500ms' AS $$
BEGIN
    IF slot NOT BETWEEN 0 AND 3 THEN
        RAISE EXCEPTION 'there are four slots';
    END IF;
    EXECUTE format('TRUNCATE dpop_proof_%s', slot);
END $$;
DO $$ BEGIN
    EXECUTE format('ALTER FUNCTION empty_dpop_slot(integer) SET search_path = %I, pg_temp', current_schema());
    REVOKE ALL ON FUNCTION empty_dpop_slot(integer) FROM PUBLIC;
    EXECUTE format('GRANT EXECUTE ON FUNCTION empty_dpop_slot(integer) TO %I', current_schema() || '_relay');
END $$;

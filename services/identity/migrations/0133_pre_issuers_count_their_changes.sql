-- What an issuer is made of, its keys and what it opens to clients, changes rarely and is asked all day: each caisse
-- counts its changes, whoever makes them, and a process that serves a thousand asks one sum (`signing_keys/store.py`).
CREATE TABLE issuer_version (
    caisse  text PRIMARY KEY,
    version bigint NOT NULL
);
SELECT platform_wide('issuer_version');

CREATE FUNCTION count_issuer_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO issuer_version AS counted (caisse, version)
    VALUES ((CASE TG_OP WHEN 'DELETE' THEN to_jsonb(OLD) ELSE to_jsonb(NEW) END)->>TG_ARGV[0], 1)
    ON CONFLICT (caisse) DO UPDATE SET version = counted.version + 1;
    RETURN NULL;
END $$;
DO $$ BEGIN
    EXECUTE format('ALTER FUNCTION count_issuer_change() SET search_path = %I, pg_temp', current_schema());
END $$;

-- Counted as the transaction ends: this row is the last that it locks, so whoever holds it waits for nobody. The columns
-- are those that `told` reads. What the sweep deletes had no use left, or had expired: it told nothing any more.
CREATE CONSTRAINT TRIGGER its_issuer_changed AFTER INSERT OR DELETE OR UPDATE OF settings ON caisse
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION count_issuer_change('slug');
CREATE CONSTRAINT TRIGGER its_issuer_changed AFTER INSERT OR DELETE OR UPDATE OF state ON signing_key
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION count_issuer_change('caisse');
CREATE CONSTRAINT TRIGGER its_issuer_changed AFTER INSERT OR DELETE OR UPDATE OF state, metadata ON client
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION count_issuer_change('caisse');
CREATE CONSTRAINT TRIGGER its_issuer_changed AFTER INSERT OR UPDATE OF profile, uses_left, expires_at
    ON initial_access_token DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION count_issuer_change('caisse');

-- Whatever ends a session tells its clients, in the transaction that ends it (Back-Channel Logout 1.0 §2.5): a worker
-- that was away, however long, has lost nothing.
CREATE FUNCTION tell_clients_of_the_end() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO logout_delivery (caisse, id, client_id, session_id, person_id, next_attempt_at, created_at)
    SELECT DISTINCT ON (g.client_id)
           NEW.caisse, gen_random_uuid(), g.client_id, NEW.id, NEW.person_id, NEW.revoked_at, NEW.revoked_at
      FROM authorization_grant AS g
      JOIN client ON client.caisse = g.caisse AND client.client_id = g.client_id
     WHERE g.caisse = NEW.caisse
       AND g.session_id = NEW.id
       AND client.metadata ? 'backchannel_logout_uri'
    ON CONFLICT (caisse, session_id, client_id) DO NOTHING;
    RETURN NULL;
END $$;

-- People are of the whole platform, their sessions of one caisse each: a suspension or a new password ends all of
-- them in the transaction that decided it. The serving role sees the rows of one caisse; it may end the sessions of one
-- person in the others, and read nothing there.
CREATE FUNCTION end_sessions_everywhere(whose uuid, kept uuid, moment timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    ended integer;
BEGIN
    -- Row-level security holds the owner too; it sees every caisse for the length of this statement.
    PERFORM set_config('espace.migrating', 'on', true);
    -- A sign-in under way has proven the former password. First, so that one being finished has opened its session.
    DELETE FROM sign_in WHERE person_id = whose AND (kept IS NULL OR session_id IS DISTINCT FROM kept);
    UPDATE session SET revoked_at = moment
     WHERE person_id = whose AND revoked_at IS NULL AND id IS DISTINCT FROM kept;
    GET DIAGNOSTICS ended = ROW_COUNT;
    -- What was granted while the new password was being computed is dated after the change (`grant_is_outdated`).
    UPDATE authorization_grant AS g SET revoked_at = moment, revoked_why = 'person'
      FROM caisse
     WHERE g.caisse = caisse.slug AND g.person_id = whose AND g.revoked_at IS NULL
       AND (kept IS NULL OR g.session_id IS DISTINCT FROM kept);
    PERFORM set_config('espace.migrating', '', true);
    RETURN ended;
END $$;

DO $$ BEGIN
    EXECUTE format('ALTER FUNCTION tell_clients_of_the_end() SET search_path = %I, pg_temp', current_schema());
    EXECUTE format('ALTER FUNCTION end_sessions_everywhere(uuid, uuid, timestamptz) SET search_path = %I, pg_temp',
                   current_schema());
    REVOKE ALL ON FUNCTION end_sessions_everywhere(uuid, uuid, timestamptz) FROM PUBLIC;
    EXECUTE format('GRANT EXECUTE ON FUNCTION end_sessions_everywhere(uuid, uuid, timestamptz) TO %I',
                   current_schema() || '_app');
END $$;

CREATE TRIGGER clients_hear_of_the_end AFTER UPDATE OF revoked_at ON session FOR EACH ROW
    WHEN (OLD.revoked_at IS NULL AND NEW.revoked_at IS NOT NULL)
    EXECUTE FUNCTION tell_clients_of_the_end();

CREATE INDEX session_of_person_anywhere ON session (person_id) WHERE revoked_at IS NULL;
-- The queue is taken client by client, so that no crowd of one stands before another.
CREATE INDEX logout_delivery_of_client ON logout_delivery (caisse, client_id, next_attempt_at)
    WHERE delivered_at IS NULL AND abandoned_at IS NULL;

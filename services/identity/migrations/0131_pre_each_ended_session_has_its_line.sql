-- `public_id` of libs/common/values/identifiers.py: the prefix, and 26 symbols of Crockford's base 32, two zero bits first.
CREATE FUNCTION public_id(prefix text, key uuid) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT prefix || '_' || string_agg(
               substr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', 1 + substring(bits FROM 1 + 5 * place FOR 5)::bit(5)::integer, 1),
               '' ORDER BY place)
      FROM (SELECT B'00' || ('x' || replace(key::text, '-', ''))::bit(128)) AS spelled (bits),
           generate_series(0, 25) AS place
$$;

-- As before, and each session that was alive leaves its line, in the journal of its own caisse: the serving role may not
-- write there. One that its own clocks had ended (`seen_after`, `created_after`) is over by them, and has no second end.
CREATE FUNCTION end_sessions_everywhere(
    whose uuid, kept uuid, moment timestamptz, seen_after timestamptz, created_after timestamptz, actor jsonb, why jsonb
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    -- Row-level security holds the owner too; it sees every caisse for the length of this statement.
    PERFORM set_config('espace.migrating', 'on', true);
    -- A sign-in under way has proven the former password. First, so that one being finished has opened its session.
    DELETE FROM sign_in WHERE person_id = whose AND (kept IS NULL OR session_id IS DISTINCT FROM kept);
    WITH ended AS (
        UPDATE session SET revoked_at = moment
         WHERE person_id = whose AND revoked_at IS NULL AND id IS DISTINCT FROM kept
        RETURNING caisse, id, last_seen_at > seen_after AND created_at > created_after AS was_alive
    )
    INSERT INTO journal (caisse, id, at, action, subject_kind, subject_id,
                         person_id, cabinet_id, mandate_id, mandate_version, token_jti, details)
    SELECT ended.caisse, gen_random_uuid(), moment, 'session.ended', 'session', public_id('ses', ended.id),
           hand.person_id, hand.cabinet_id, hand.mandate_id, hand.mandate_version, hand.token_jti,
           why || jsonb_build_object('person', public_id('per', whose))
      FROM ended,
           jsonb_to_record(actor) AS hand (person_id uuid, cabinet_id uuid, mandate_id uuid, mandate_version integer,
                                           token_jti text)
     WHERE ended.was_alive;
    -- What was granted while the new password was being computed is dated after the change (`grant_is_outdated`).
    UPDATE authorization_grant AS g SET revoked_at = moment, revoked_why = 'person'
      FROM caisse
     WHERE g.caisse = caisse.slug AND g.person_id = whose AND g.revoked_at IS NULL
       AND (kept IS NULL OR g.session_id IS DISTINCT FROM kept);
    PERFORM set_config('espace.migrating', '', true);
END $$;

DO $$
DECLARE
    signature text := 'end_sessions_everywhere(uuid, uuid, timestamptz, timestamptz, timestamptz, jsonb, jsonb)';
BEGIN
    EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', signature, current_schema());
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', signature);
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', signature, current_schema() || '_app');
END $$;

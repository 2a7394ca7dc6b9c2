-- What a person proved, or granted to outlive their session, before they were last suspended is worth nothing,
-- in every caisse and after they are restored too. Whoever changes the state, the instant is noted.
ALTER TABLE person ADD COLUMN suspended_at timestamptz;
UPDATE person SET suspended_at = now() WHERE state = 'suspended';

CREATE FUNCTION note_suspension() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.suspended_at IS NOT DISTINCT FROM OLD.suspended_at THEN
        NEW.suspended_at := now();
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER note_suspension BEFORE UPDATE OF state ON person FOR EACH ROW
    WHEN (OLD.state <> 'suspended' AND NEW.state = 'suspended') EXECUTE FUNCTION note_suspension();

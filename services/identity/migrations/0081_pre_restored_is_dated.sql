-- A suspension ends what was granted until it is over: a request that read the person just before may be dated, and
-- written, just after. Whoever changes the state, both instants are noted; the column keeps the later.
DROP TRIGGER note_suspension ON person;
CREATE TRIGGER note_suspension BEFORE UPDATE OF state ON person FOR EACH ROW
    WHEN (OLD.state <> NEW.state AND 'suspended' IN (OLD.state, NEW.state)) EXECUTE FUNCTION note_suspension();

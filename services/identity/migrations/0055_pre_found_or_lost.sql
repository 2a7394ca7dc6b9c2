-- Several effects are written by one statement, all or nothing: the one that
-- finds its row taken ends the statement, and says which it was by its place.
CREATE FUNCTION found_or_lost(is_there boolean, place integer) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    IF NOT is_there THEN
        RAISE EXCEPTION 'somebody else was first' USING ERRCODE = 'ES001', DETAIL = place::text;
    END IF;
    RETURN true;
END $$;

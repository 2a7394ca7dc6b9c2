-- What the person saw when they agreed, so that the code gives that and nothing else: a client may change its own
-- description between the two. A flow of the version before says nothing of it, and its person is asked once more.
ALTER TABLE authorization_flow ADD COLUMN consented_to text;
DO $$ BEGIN
    EXECUTE format('GRANT UPDATE (consented_to) ON authorization_flow TO %I', current_schema() || '_app');
END $$;

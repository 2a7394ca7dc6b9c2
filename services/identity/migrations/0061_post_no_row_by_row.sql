-- The version before deleted grants and refresh tokens one by one. Nothing does any more.
DO $$ BEGIN
    EXECUTE format('REVOKE DELETE ON authorization_grant, refresh_token FROM %I', current_schema() || '_relay');
END $$;

-- A client that changes hands ends the consents given to it: without this, each such change reads all of a caisse's.
CREATE INDEX consent_client ON consent (caisse, client_id) WHERE revoked_at IS NULL;

-- The queue of logout tokens is filled from the sessions that ended, by whatever
-- path they ended: sign-out, end-session, account page, officer.
ALTER TABLE logout_delivery DROP COLUMN subject;
ALTER TABLE logout_delivery ADD COLUMN person_id uuid NOT NULL;
ALTER TABLE logout_delivery ADD CONSTRAINT logout_delivery_once UNIQUE (caisse, session_id, client_id);
CREATE INDEX logout_delivery_age ON logout_delivery (created_at);
CREATE INDEX session_ended ON session (revoked_at) WHERE revoked_at IS NOT NULL;
SELECT open_to_relay('logout_delivery', 'SELECT, INSERT, UPDATE, DELETE');
SELECT open_to_relay('client', 'SELECT');
SELECT open_to_relay('initial_access_token', 'SELECT, DELETE');

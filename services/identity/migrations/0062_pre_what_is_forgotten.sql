-- What is forgotten is found by its age, in any caisse, without reading the whole table…
CREATE INDEX session_age ON session (created_at);
CREATE INDEX mail_queue_age ON mail_queue (created_at);
CREATE INDEX known_device_age ON known_device (last_used_at);
CREATE INDEX consent_end ON consent (expires_at);
CREATE INDEX mandate_command_age ON mandate_command (at);
CREATE INDEX password_reset_due ON password_reset (expires_at);
CREATE INDEX first_connection_over ON first_connection (expires_at) WHERE completed_at IS NOT NULL;
-- … and so are the rows that lean on it: without these each deleted row reads them all.
CREATE INDEX sign_in_of_session ON sign_in (session_id) WHERE session_id IS NOT NULL;
CREATE INDEX email_confirmation_of_first_connection ON email_confirmation (first_connection_id);

SELECT open_to_relay('mandate_command', 'SELECT, DELETE');

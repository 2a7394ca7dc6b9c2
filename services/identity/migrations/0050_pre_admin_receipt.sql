-- What the administration API answered to a command that carried an Idempotency-Key, for a day: the
-- same command answers the same bytes. Sealed, for the answer may hold a secret that is shown once.
CREATE TABLE admin_receipt (
    caisse text NOT NULL REFERENCES caisse (slug),
    client_id text NOT NULL,
    request_key text NOT NULL,
    request_hash bytea NOT NULL,
    answer_encrypted bytea,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (caisse, client_id, request_key)
);
CREATE INDEX admin_receipt_age ON admin_receipt (caisse, created_at);
SELECT protect_by_caisse('admin_receipt');

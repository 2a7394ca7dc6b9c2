-- The outgoing mail: a row commits with its cause, a courier sends it later.
-- `parameters` holds address and values, encrypted, erased once sent.

CREATE TABLE mail_queue (
    id          uuid        PRIMARY KEY,
    caisse      text        NOT NULL REFERENCES caisse (slug),
    template    text        NOT NULL,
    locale      text        NOT NULL,
    message_id  text        NOT NULL UNIQUE,
    address_key bytea       NOT NULL,
    target_key  bytea,
    is_limited  boolean     NOT NULL DEFAULT false,
    parameters  bytea,
    created_at  timestamptz NOT NULL,
    next_try_at timestamptz NOT NULL,
    leased_until timestamptz,
    tries       integer     NOT NULL DEFAULT 0,
    sent_at     timestamptz,
    failed_at   timestamptz,
    last_error  text,
    CHECK (parameters IS NOT NULL OR sent_at IS NOT NULL OR failed_at IS NOT NULL)
);
CREATE INDEX mail_queue_due ON mail_queue (next_try_at) WHERE sent_at IS NULL AND failed_at IS NULL;
CREATE INDEX mail_queue_address ON mail_queue (address_key, created_at) WHERE is_limited;
CREATE INDEX mail_queue_target ON mail_queue (target_key, created_at) WHERE is_limited;
SELECT protect_by_caisse('mail_queue');
SELECT open_to_relay('mail_queue', 'SELECT, UPDATE, DELETE');

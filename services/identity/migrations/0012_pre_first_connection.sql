-- First connection: what an adhérent has proven and chosen so far. The row
-- exists only once both letters were shown; the questions before it keep nothing.

CREATE TABLE first_connection (
    id            uuid        PRIMARY KEY,
    caisse        text        NOT NULL REFERENCES caisse (slug),
    token_hash    bytea       NOT NULL UNIQUE,
    pair_id       uuid        NOT NULL,
    adherent_id   uuid        NOT NULL REFERENCES adherent (id),
    email         text,
    full_name     text        NOT NULL DEFAULT '',
    password_hash text,
    created_at    timestamptz NOT NULL,
    expires_at    timestamptz NOT NULL,
    completed_at  timestamptz,
    CHECK (completed_at IS NULL OR password_hash IS NULL)
);
CREATE INDEX first_connection_due ON first_connection (expires_at) WHERE completed_at IS NULL;
SELECT protect_by_caisse('first_connection');

-- One link (and the typed code that replaces it) at a time: a new one ends the old.
CREATE TABLE email_confirmation (
    id                  uuid        PRIMARY KEY,
    caisse              text        NOT NULL REFERENCES caisse (slug),
    first_connection_id uuid        NOT NULL REFERENCES first_connection (id) ON DELETE CASCADE,
    email               text        NOT NULL,
    token_hash          bytea       NOT NULL UNIQUE,
    code_hash           bytea       NOT NULL,
    code_failures       smallint    NOT NULL DEFAULT 0,
    requested_at        timestamptz NOT NULL,
    expires_at          timestamptz NOT NULL,
    used_at             timestamptz,
    superseded_at       timestamptz
);
CREATE UNIQUE INDEX email_confirmation_live ON email_confirmation (first_connection_id)
    WHERE used_at IS NULL AND superseded_at IS NULL;
SELECT protect_by_caisse('email_confirmation');
SELECT open_to_relay('first_connection', 'SELECT, DELETE');
SELECT open_to_relay('email_confirmation', 'SELECT, DELETE');

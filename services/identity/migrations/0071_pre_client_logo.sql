-- A client's logo as we keep it: read by the guarded fetcher, drawn anew by us, served from our own origin.
-- The row follows the client's metadata: the worker fills it, nothing that registers a client waits for it.
CREATE TABLE client_logo (
    caisse text NOT NULL,
    client_id text NOT NULL,
    -- The registered address that this row is about; another one in the client's metadata makes the row void.
    uri text NOT NULL,
    -- Of the bytes shown: the same image has the same address for ever.
    name text CHECK (name ~ '^[0-9a-f]{32}$'),
    image bytea CHECK (octet_length(image) <= 163840),
    -- Pixels that the page gives it.
    width integer CHECK (width BETWEEN 1 AND 160),
    height integer CHECK (height BETWEEN 1 AND 56),
    -- As of which registration or update of the client; a later one has the address read again.
    client_updated_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL,
    failures integer NOT NULL DEFAULT 0,
    last_answer text,
    PRIMARY KEY (caisse, client_id),
    FOREIGN KEY (caisse, client_id) REFERENCES client (caisse, client_id) ON DELETE CASCADE,
    CHECK (num_nulls(name, image, width, height) IN (0, 4))
);
CREATE INDEX client_logo_due ON client_logo (due_at);
CREATE INDEX client_logo_name ON client_logo (caisse, name) WHERE name IS NOT NULL;
CREATE INDEX client_with_logo ON client (caisse, client_id) WHERE state = 'active' AND metadata ? 'logo_uri';
SELECT protect_by_caisse('client_logo');
SELECT open_to_relay('client_logo', 'SELECT, INSERT, UPDATE, DELETE');

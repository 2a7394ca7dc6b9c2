-- A row stands while an import brings the caisse's accounts in, and after it if it
-- died: half of them would say of a late firm that nothing is missing.
CREATE TABLE accounts_loading (
    caisse text        PRIMARY KEY,
    run    uuid        NOT NULL,   -- the last import begun: it alone may say that all is in
    since  timestamptz NOT NULL DEFAULT now()
);
SELECT protect_by_caisse('accounts_loading');

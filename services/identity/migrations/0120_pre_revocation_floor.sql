-- The floors that identity itself judges by: what introspection refuses as the services do. One row a subject, for as
-- long as a token of before lives. `name` is kind/key as tokens carry the key (a client's: client/caisse/client_id).
CREATE TABLE revocation_floor (
    name       text        PRIMARY KEY,
    not_before timestamptz NOT NULL,
    raised_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
SELECT platform_wide('revocation_floor');
SELECT open_to_relay('revocation_floor', 'SELECT, DELETE');
CREATE INDEX revocation_floor_age ON revocation_floor (raised_at);

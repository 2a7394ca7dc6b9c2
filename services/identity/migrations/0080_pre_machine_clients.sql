-- A cabinet's software: an OpenID client of one caisse that acts for one cabinet, one of whose people answers for it.
-- Its keys, its ceiling and whether it is disabled are the client's.
CREATE TABLE machine_client (
    id           uuid        PRIMARY KEY,
    caisse       text        NOT NULL REFERENCES caisse (slug),
    client_id    text        NOT NULL,
    cabinet_id   uuid        NOT NULL REFERENCES cabinet (id),
    -- One machine for good, disabled or not: the firms read this name beside what was done for them.
    name         text        NOT NULL CHECK (name <> ''),
    -- Of this very cabinet. That they left it is judged at use.
    sponsor_id   uuid        NOT NULL,
    -- Tokens issued until then are dead: the sponsor changed, a key was retired, the ceiling came down.
    not_before   timestamptz,
    last_used_at timestamptz,
    created_at   timestamptz NOT NULL,
    UNIQUE (caisse, client_id),
    UNIQUE (caisse, cabinet_id, name),
    FOREIGN KEY (caisse, client_id) REFERENCES client (caisse, client_id),
    FOREIGN KEY (cabinet_id, sponsor_id) REFERENCES collaborator (cabinet_id, person_id)
);
SELECT protect_by_caisse('machine_client');

ALTER TABLE mandate_act ADD COLUMN machine_id uuid REFERENCES machine_client (id);

-- What a former system's export leaves besides the member files: evidence, never rights.

-- Each run of `espace import`, for the officer who asks what was done with a row.
CREATE TABLE import_run (
    id          uuid        PRIMARY KEY,
    caisse      text        NOT NULL REFERENCES caisse (slug),
    started_at  timestamptz NOT NULL,
    finished_at timestamptz,               -- absent: interrupted, the next run takes over
    counts      jsonb       NOT NULL DEFAULT '{}'
);
CREATE INDEX import_run_by_date ON import_run (caisse, started_at DESC);
SELECT protect_by_caisse('import_run');

-- The rows that were refused or corrected; an accepted row leaves no line here.
CREATE TABLE import_verdict (
    id          uuid    PRIMARY KEY,
    caisse      text    NOT NULL REFERENCES caisse (slug),
    run_id      uuid    NOT NULL REFERENCES import_run (id) ON DELETE CASCADE,
    file        text    NOT NULL,
    line        integer NOT NULL CHECK (line > 0),
    column_name text    NOT NULL,
    outcome     text    NOT NULL CHECK (outcome IN ('refused', 'corrected')),
    code        text    NOT NULL,
    reason      text    NOT NULL            -- French, without the value itself
);
CREATE INDEX import_verdict_of_run ON import_verdict (run_id, file, line);
SELECT protect_by_caisse('import_verdict');

-- An authorisation the former system knew: shown greyed, with "Renouveler".
CREATE TABLE former_authorisation (
    id           uuid    PRIMARY KEY,
    caisse       text    NOT NULL REFERENCES caisse (slug),
    adherent_id  uuid    NOT NULL REFERENCES adherent (id),
    cabinet_siren text   NOT NULL CHECK (cabinet_siren ~ '^[0-9]{9}$'),
    cabinet_name text    NOT NULL,
    granted_on   date,
    source_line  integer NOT NULL CHECK (source_line > 0),
    UNIQUE (caisse, adherent_id, cabinet_siren)
);
CREATE INDEX former_authorisation_of_cabinet ON former_authorisation (caisse, cabinet_siren);
SELECT protect_by_caisse('former_authorisation');

-- Whom the former system wrote to. An address here proves nothing (domain.md §9, 4).
CREATE TABLE former_contact (
    id          uuid PRIMARY KEY,
    caisse      text NOT NULL REFERENCES caisse (slug),
    adherent_id uuid NOT NULL REFERENCES adherent (id),
    full_name   text NOT NULL,
    role        text NOT NULL DEFAULT '',
    email       text NOT NULL DEFAULT '',
    phone       text NOT NULL DEFAULT '',
    UNIQUE (caisse, adherent_id, full_name)
);
SELECT protect_by_caisse('former_contact');

-- The tenant, people, firms and cabinets: what every feature of identity leans on.

CREATE TABLE caisse (
    slug           text PRIMARY KEY,
    name           text NOT NULL,
    network_number text NOT NULL,
    siren          text NOT NULL,
    address        text[] NOT NULL,
    phone          text NOT NULL,
    email          text NOT NULL,
    website        text NOT NULL,
    mail_from      text NOT NULL,
    settings       jsonb NOT NULL DEFAULT '{}',
    created_at     timestamptz NOT NULL
);
SELECT platform_wide('caisse');

-- One e-mail is one person, over all caisses (domain.md §9, 4).
CREATE TABLE person (
    id            uuid PRIMARY KEY,
    email         text NOT NULL,
    email_key     text NOT NULL UNIQUE CHECK (email_key = lower(email_key)),
    full_name     text NOT NULL DEFAULT '',
    password_hash text,
    state         text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'suspended')),
    locale        text NOT NULL DEFAULT 'fr',
    created_at    timestamptz NOT NULL
);
SELECT platform_wide('person');

CREATE TABLE adherent (
    id              uuid PRIMARY KEY,
    caisse          text NOT NULL REFERENCES caisse (slug),
    adherent_number text NOT NULL,
    siren           text,
    siret           text,
    legal_name      text NOT NULL,
    address         text[] NOT NULL,
    state           text NOT NULL DEFAULT 'member' CHECK (state IN ('member', 'struck_off')),
    version         integer NOT NULL DEFAULT 1,
    imported_at     timestamptz NOT NULL,
    UNIQUE (caisse, adherent_number)
);
CREATE INDEX adherent_siret ON adherent (caisse, siret);
CREATE INDEX adherent_siren ON adherent (caisse, siren);
SELECT protect_by_caisse('adherent');

CREATE TABLE establishment (
    id             uuid PRIMARY KEY,
    caisse         text NOT NULL REFERENCES caisse (slug),
    adherent_id    uuid NOT NULL REFERENCES adherent (id),
    siret          text,
    name           text NOT NULL,
    address        text[] NOT NULL,
    is_head_office boolean NOT NULL,
    opened_on      date,
    closed_on      date
);
CREATE INDEX establishment_of_adherent ON establishment (adherent_id);
CREATE INDEX establishment_siret ON establishment (caisse, siret);
SELECT protect_by_caisse('establishment');

CREATE TABLE account (
    id               uuid PRIMARY KEY,
    caisse           text NOT NULL REFERENCES caisse (slug),
    person_id        uuid NOT NULL REFERENCES person (id),
    adherent_id      uuid NOT NULL REFERENCES adherent (id),
    is_administrator boolean NOT NULL,
    rights           text[] NOT NULL,
    state            text NOT NULL CHECK (state IN ('pending_email', 'active', 'frozen', 'closed')),
    created_at       timestamptz NOT NULL,
    activated_at     timestamptz,
    UNIQUE (caisse, person_id, adherent_id)
);
CREATE INDEX account_of_adherent ON account (adherent_id);
SELECT protect_by_caisse('account');

CREATE TABLE cabinet (
    id            uuid PRIMARY KEY,
    siren         text NOT NULL UNIQUE,
    name          text NOT NULL,
    address       text[] NOT NULL DEFAULT '{}',
    friendly_code text UNIQUE,
    open_to_all   boolean NOT NULL DEFAULT false,
    state         text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'struck_off')),
    created_at    timestamptz NOT NULL
);
SELECT platform_wide('cabinet');

CREATE TABLE collaborator (
    id         uuid PRIMARY KEY,
    cabinet_id uuid NOT NULL REFERENCES cabinet (id),
    person_id  uuid NOT NULL REFERENCES person (id),
    role       text NOT NULL CHECK (role IN ('owner', 'admin', 'manager', 'member')),
    state      text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'left')),
    created_at timestamptz NOT NULL,
    UNIQUE (cabinet_id, person_id)
);
CREATE INDEX collaborator_of_person ON collaborator (person_id);
SELECT platform_wide('collaborator');

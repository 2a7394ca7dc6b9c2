-- The member file comes from identity (adherent.imported.v1); this service keeps
-- its own copy and never asks identity. `version` is the file's version there: a
-- late or repeated fact carries an old one and changes nothing.

CREATE TABLE member (
    caisse          text        NOT NULL,
    id              uuid        NOT NULL,  -- identity's adherent id: adh_… on the outside
    adherent_number text        NOT NULL,
    siren           text        CHECK (siren ~ '^[0-9]{9}$'),   -- absent for a foreign firm only
    siret           text        CHECK (siret ~ '^[0-9]{14}$'),
    legal_name      text        NOT NULL,
    address         text[]      NOT NULL DEFAULT '{}',
    state           text        NOT NULL DEFAULT 'member' CHECK (state IN ('member', 'struck_off')),
    version         integer     NOT NULL CHECK (version > 0),
    updated_at      timestamptz NOT NULL,
    PRIMARY KEY (caisse, id),
    UNIQUE (caisse, adherent_number)
);
CREATE INDEX member_by_siren ON member (caisse, siren) WHERE siren IS NOT NULL;
SELECT protect_by_caisse('member');

CREATE TABLE establishment (
    caisse         text    NOT NULL,
    id             uuid    NOT NULL,
    member_id      uuid    NOT NULL,
    siret          text    CHECK (siret ~ '^[0-9]{14}$'),
    name           text    NOT NULL DEFAULT '',
    address        text[]  NOT NULL DEFAULT '{}',
    is_head_office boolean NOT NULL DEFAULT false,
    opened_on      date,
    closed_on      date,
    PRIMARY KEY (caisse, id),
    FOREIGN KEY (caisse, member_id) REFERENCES member (caisse, id) ON DELETE CASCADE
);
CREATE INDEX establishment_by_member ON establishment (caisse, member_id);
SELECT protect_by_caisse('establishment');

-- Declarations, statements and payments are keyed by the adhérent number, not by
-- the member's id: a former system's balances may be loaded before identity has
-- announced the member they belong to.
-- A period is a year, a quarter or a month: 2020, 2020-T4, 2020-11.

CREATE TABLE declaration (
    caisse          text NOT NULL,
    adherent_number text NOT NULL,
    period          text NOT NULL CHECK (period ~ '^[0-9]{4}(-(0[1-9]|1[0-2]|T[1-4]))?$'),
    kind            text NOT NULL DEFAULT 'monthly_filing' CHECK (kind IN ('monthly_filing', 'quarterly_filing', 'annual_roll')),
    establishment_siret text CHECK (establishment_siret ~ '^[0-9]{14}$'),  -- absent: the whole firm
    due_on          date NOT NULL,
    filed_on        date,                 -- absent: still awaited
    UNIQUE NULLS NOT DISTINCT (caisse, adherent_number, period, kind, establishment_siret)
);
SELECT protect_by_caisse('declaration');

CREATE TABLE statement (
    caisse          text   NOT NULL,
    adherent_number text   NOT NULL,
    period          text   NOT NULL CHECK (period ~ '^[0-9]{4}(-(0[1-9]|1[0-2]|T[1-4]))?$'),
    kind            text   NOT NULL DEFAULT 'contributions' CHECK (kind IN ('contributions', 'leave', 'weather', 'surcharge', 'balance')),
    establishment_siret text CHECK (establishment_siret ~ '^[0-9]{14}$'),
    amount_cents    bigint NOT NULL,      -- negative: the caisse owes the firm
    due_on          date   NOT NULL,
    collection      text   NOT NULL DEFAULT 'called' CHECK (collection IN ('called', 'payment_plan', 'litigation')),
    PRIMARY KEY (caisse, adherent_number, period, kind)
);
SELECT protect_by_caisse('statement');

CREATE TABLE payment (
    caisse          text   NOT NULL,
    reference       text   NOT NULL,      -- the caisse's or the bank's; one payment, one reference
    adherent_number text   NOT NULL,
    period          text   NOT NULL,      -- of the statement it settles
    kind            text   NOT NULL DEFAULT 'contributions',
    amount_cents    bigint NOT NULL CHECK (amount_cents > 0),
    received_on     date   NOT NULL,
    state           text   NOT NULL DEFAULT 'settled' CHECK (state IN ('settled', 'rejected')),
    PRIMARY KEY (caisse, reference)
);
CREATE INDEX payment_by_statement ON payment (caisse, adherent_number, period, kind);
SELECT protect_by_caisse('payment');

-- Two letters open a space: the identifiant in one, the code confidentiel in the
-- other. In clear they exist only on paper and inside a sealed print lot.

CREATE TABLE print_lot (
    id           uuid        PRIMARY KEY,
    caisse       text        NOT NULL REFERENCES caisse (slug),
    kind         text        NOT NULL CHECK (kind IN ('identifiant', 'code_confidentiel')),
    letters      integer     NOT NULL CHECK (letters > 0),
    pages        integer     NOT NULL CHECK (pages >= letters),
    sha256       bytea       NOT NULL CHECK (length(sha256) = 32),  -- of the PDF in clear
    sealed       bytea,                                             -- the encrypted PDF, until it is purged
    post_on      date        NOT NULL,   -- the earliest day its letters may be posted
    made_at      timestamptz NOT NULL,
    printed_at   timestamptz,
    posted_at    timestamptz,
    purged_at    timestamptz,
    purge_proof  text,                   -- the statement of the erasure and its MAC, as JSON
    CHECK ((sealed IS NULL) = (purged_at IS NOT NULL)),
    CHECK ((purge_proof IS NULL) = (purged_at IS NULL)),
    CHECK (posted_at IS NULL OR printed_at IS NOT NULL)
);
ALTER TABLE print_lot ALTER COLUMN sealed SET STORAGE EXTERNAL;  -- ciphertext does not compress
CREATE INDEX print_lot_by_date ON print_lot (caisse, made_at DESC);
SELECT protect_by_caisse('print_lot');

CREATE TABLE letter_pair (
    id                 uuid        PRIMARY KEY,
    caisse             text        NOT NULL REFERENCES caisse (slug),
    adherent_id        uuid        NOT NULL REFERENCES adherent (id),
    state              text        NOT NULL DEFAULT 'generated' CHECK (state IN (
                           'generated', 'printed', 'first_mailed', 'mailed',
                           'redeemed', 'undeliverable', 'exhausted', 'expired', 'reissued', 'revoked')),
    identifiant_salt   bytea,
    identifiant_hash   bytea,
    code_salt          bytea,
    code_hash          bytea,
    -- The ten failures of its whole life: spent in the UPDATE that allows the try.
    failures           smallint    NOT NULL DEFAULT 0 CHECK (failures BETWEEN 0 AND 10),
    identifiant_lot_id uuid        NOT NULL REFERENCES print_lot (id),
    identifiant_page   integer     NOT NULL CHECK (identifiant_page > 0),
    code_lot_id        uuid        NOT NULL REFERENCES print_lot (id),
    code_page          integer     NOT NULL CHECK (code_page > 0),
    made_at            timestamptz NOT NULL,
    valid_until        timestamptz,      -- set by the second posting
    ended_at           timestamptz,
    ended_because      text,
    CHECK ((valid_until IS NOT NULL) OR state <> 'mailed'),
    -- A pair that can still open a space has all its hashes; the others may have lost them.
    CHECK (state NOT IN ('generated', 'printed', 'first_mailed', 'mailed')
           OR (identifiant_hash IS NOT NULL AND code_hash IS NOT NULL))
);
-- One live pair an adhérent: a reissue kills the old one in the same transaction.
CREATE UNIQUE INDEX letter_pair_live ON letter_pair (adherent_id)
    WHERE state IN ('generated', 'printed', 'first_mailed', 'mailed');
CREATE INDEX letter_pair_of_adherent ON letter_pair (adherent_id, made_at DESC);
CREATE INDEX letter_pair_of_identifiant_lot ON letter_pair (identifiant_lot_id, identifiant_page);
CREATE INDEX letter_pair_of_code_lot ON letter_pair (code_lot_id, code_page);
CREATE INDEX letter_pair_due ON letter_pair (valid_until) WHERE state = 'mailed';
SELECT protect_by_caisse('letter_pair');

-- Every try of a pair leaves one row, whether or not it met a pair: the commit
-- then costs the same, and its duration tells nothing.
CREATE TABLE letter_attempt (
    id       uuid        PRIMARY KEY,
    caisse   text        NOT NULL REFERENCES caisse (slug),
    pair_id  uuid        REFERENCES letter_pair (id),
    tried_at timestamptz NOT NULL
);
CREATE INDEX letter_attempt_age ON letter_attempt (tried_at);
CREATE INDEX letter_attempt_of_pair ON letter_attempt (pair_id) WHERE pair_id IS NOT NULL;
SELECT protect_by_caisse('letter_attempt');

SELECT open_to_relay('letter_pair', 'SELECT, UPDATE');
SELECT open_to_relay('letter_attempt', 'SELECT, DELETE');

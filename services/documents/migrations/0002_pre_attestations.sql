-- What identity tells of a caisse: printed on attestations, named in certificates.
CREATE TABLE caisse (
    slug       text        PRIMARY KEY,
    name       text        NOT NULL,
    siren      text        NOT NULL CHECK (siren ~ '^([0-9]{9})?$'),  -- empty until the caisse gives it
    address    text[]      NOT NULL DEFAULT '{}',
    phone      text        NOT NULL DEFAULT '',
    email      text        NOT NULL DEFAULT '',
    website    text        NOT NULL DEFAULT '',
    colour     text        NOT NULL DEFAULT '',
    version    integer     NOT NULL,
    updated_at timestamptz NOT NULL
);
SELECT platform_wide('caisse');

-- The caisse's own authority and the certificates under it. Private keys are
-- PKCS#8 under the key-encryption key; public keys are kept for ever.
CREATE TABLE seal_authority (
    caisse      text        PRIMARY KEY,
    certificate bytea       NOT NULL,
    private_key bytea       NOT NULL,
    created_at  timestamptz NOT NULL
);
SELECT protect_by_caisse('seal_authority');

CREATE TABLE seal_certificate (
    caisse      text        NOT NULL,
    sequence    integer     NOT NULL,
    certificate bytea       NOT NULL,
    private_key bytea       NOT NULL,
    signs_from  timestamptz NOT NULL,
    signs_until timestamptz NOT NULL,
    PRIMARY KEY (caisse, sequence)
);
SELECT protect_by_caisse('seal_certificate');

-- Numbers are taken in the transaction that writes them on their attestation:
-- a process killed at any moment leaves no gap.
CREATE TABLE attestation_counter (
    caisse      text    NOT NULL,
    year        integer NOT NULL,
    last_number integer NOT NULL CHECK (last_number > 0),
    PRIMARY KEY (caisse, year)
);
SELECT protect_by_caisse('attestation_counter');

-- reserved: judged, code and status index drawn. numbered: the exact bytes are
-- written. sealed: the file exists. A row only ever moves forward.
CREATE TABLE attestation (
    caisse           text        NOT NULL,
    id               uuid        NOT NULL,
    adherent_id      uuid        NOT NULL,
    kind             text        NOT NULL CHECK (kind IN ('up_to_date')),
    as_of            date        NOT NULL,
    data_hash        bytea       NOT NULL,       -- of the facts attested, so the same facts give one paper
    state            text        NOT NULL DEFAULT 'reserved' CHECK (state IN ('reserved', 'numbered', 'sealed')),
    status           text        NOT NULL DEFAULT 'valid'
                                 CHECK (status IN ('valid', 'withdrawn', 'superseded', 'to_reconfirm')),
    status_changed_at timestamptz,
    status_reason    text,
    replaces         uuid,
    code_mac         bytea       NOT NULL,       -- the code itself stands only in encrypted columns
    status_index     integer     NOT NULL,
    draft            bytea       NOT NULL,       -- encrypted: facts, code, judgement and its inputs
    reserved_at      timestamptz NOT NULL,
    year             integer,
    number           integer,
    payload          bytea,                      -- encrypted canonical JSON
    issued_at        timestamptz,
    template         text,                       -- name and SHA-256 of the template that renders it
    seal_sequence    integer,
    cms              bytea,
    byte_range_digest bytea,
    file_path        text,
    file_size        integer,
    sealed_at        timestamptz,
    client_id        text        NOT NULL,
    person_id        uuid,
    cabinet_id       uuid,
    mandate_id       uuid,
    mandate_version  integer,
    token_jti        text,
    PRIMARY KEY (caisse, id),
    UNIQUE (caisse, code_mac),
    UNIQUE (caisse, status_index),
    UNIQUE (caisse, year, number),
    FOREIGN KEY (caisse, seal_sequence) REFERENCES seal_certificate (caisse, sequence),
    CHECK (state = 'reserved' OR (year IS NOT NULL AND number IS NOT NULL AND payload IS NOT NULL
                                  AND issued_at IS NOT NULL AND template IS NOT NULL AND seal_sequence IS NOT NULL)),
    CHECK (state <> 'sealed' OR (cms IS NOT NULL AND byte_range_digest IS NOT NULL AND file_path IS NOT NULL
                                 AND file_size IS NOT NULL AND sealed_at IS NOT NULL))
);
CREATE UNIQUE INDEX attestation_of_the_same_facts ON attestation (caisse, adherent_id, kind, as_of, data_hash)
    WHERE status IN ('valid', 'to_reconfirm');
CREATE INDEX attestation_of_adherent ON attestation (caisse, adherent_id, reserved_at DESC);
CREATE INDEX attestation_by_seal ON attestation (caisse, byte_range_digest) WHERE byte_range_digest IS NOT NULL;
CREATE INDEX attestation_half_way ON attestation (reserved_at) WHERE state <> 'sealed';
SELECT protect_by_caisse('attestation');
-- The sweeper only learns which rows to finish; it reads no content.
CREATE POLICY half_way_for_relay ON attestation FOR SELECT TO documents_relay USING (state <> 'sealed');
GRANT SELECT (caisse, id, state, reserved_at) ON attestation TO documents_relay;

-- One request key, one attestation: the row is claimed before anything else exists.
CREATE TABLE attestation_request (
    caisse         text        NOT NULL,
    adherent_id    uuid        NOT NULL,
    request_key    text        NOT NULL,
    kind           text        NOT NULL,
    attestation_id uuid        NOT NULL,
    requested_at   timestamptz NOT NULL,
    PRIMARY KEY (caisse, adherent_id, request_key),
    FOREIGN KEY (caisse, attestation_id) REFERENCES attestation (caisse, id) DEFERRABLE INITIALLY DEFERRED
);
SELECT protect_by_caisse('attestation_request');

-- Leads from a QR code, whose address names no caisse, to the caisse that answers it.
CREATE TABLE verification_address (
    code_mac bytea PRIMARY KEY,
    caisse   text  NOT NULL
);
SELECT platform_wide('verification_address');

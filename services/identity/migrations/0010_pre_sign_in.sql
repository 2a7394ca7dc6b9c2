-- Sign-in: sessions, devices, second factors, mailed links and throttles.
-- Every secret that reaches a browser or a mailbox is kept as a hash only.

-- A session proven before its person's last change of password is over, in every caisse.
ALTER TABLE person ADD COLUMN password_changed_at timestamptz;

CREATE TABLE session (
    id                uuid        PRIMARY KEY,
    caisse            text        NOT NULL REFERENCES caisse (slug),
    token_hash        bytea       NOT NULL UNIQUE,
    person_id         uuid        NOT NULL REFERENCES person (id),
    auth_time         timestamptz NOT NULL,
    acr               text        NOT NULL CHECK (acr IN ('pwd', 'two_step', 'mfa')),
    amr               text[]      NOT NULL,
    second_factor_at  timestamptz,
    created_at        timestamptz NOT NULL,
    last_seen_at      timestamptz NOT NULL,
    revoked_at        timestamptz,
    user_agent_family text        NOT NULL DEFAULT ''
);
CREATE INDEX session_of_person ON session (caisse, person_id) WHERE revoked_at IS NULL;
SELECT protect_by_caisse('session');

-- A password already proven, while the second step is awaited: at sign-in, or
-- (session_id set) at a step-up. Budgets live here, in a logged table.
CREATE TABLE sign_in (
    id              uuid        PRIMARY KEY,
    caisse          text        NOT NULL REFERENCES caisse (slug),
    token_hash      bytea       NOT NULL UNIQUE,
    person_id       uuid        NOT NULL REFERENCES person (id),
    session_id      uuid        REFERENCES session (id),
    password_at     timestamptz NOT NULL,
    code_hash       bytea,
    code_expires_at timestamptz,
    failures        smallint    NOT NULL DEFAULT 0,
    expires_at      timestamptz NOT NULL,
    completed_at    timestamptz
);
CREATE INDEX sign_in_due ON sign_in (expires_at);
SELECT protect_by_caisse('sign_in');

-- A browser that has signed this person in before: attackers on other browsers
-- share one throttle, the owner's own browser has its own.
CREATE TABLE known_device (
    id           uuid        PRIMARY KEY,
    caisse       text        NOT NULL REFERENCES caisse (slug),
    person_id    uuid        NOT NULL REFERENCES person (id),
    token_hash   bytea       NOT NULL UNIQUE,
    label        text        NOT NULL,
    created_at   timestamptz NOT NULL,
    last_used_at timestamptz NOT NULL,
    revoked_at   timestamptz
);
CREATE INDEX known_device_of_person ON known_device (caisse, person_id);
SELECT protect_by_caisse('known_device');

CREATE TABLE password_reset (
    id         uuid        PRIMARY KEY,
    caisse     text        NOT NULL REFERENCES caisse (slug),
    person_id  uuid        NOT NULL REFERENCES person (id),
    token_hash bytea       NOT NULL UNIQUE,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    ended_at   timestamptz
);
CREATE INDEX password_reset_of_person ON password_reset (person_id) WHERE ended_at IS NULL;
SELECT protect_by_caisse('password_reset');

-- One authenticator application per person. `confirmed_at` is set once a first
-- value was typed; `last_step` only grows, so each value works once.
CREATE TABLE totp_factor (
    person_id        uuid        PRIMARY KEY REFERENCES person (id),
    secret_encrypted bytea       NOT NULL,
    last_step        bigint      NOT NULL DEFAULT 0,
    created_at       timestamptz NOT NULL,
    confirmed_at     timestamptz
);
SELECT platform_wide('totp_factor');

CREATE TABLE recovery_code (
    person_id  uuid        NOT NULL REFERENCES person (id),
    code_hash  bytea       NOT NULL,
    created_at timestamptz NOT NULL,
    used_at    timestamptz,
    PRIMARY KEY (person_id, code_hash)
);
SELECT platform_wide('recovery_code');

-- GCRA: `ready_at` is when the bucket is empty again. Unlogged on purpose: a
-- crash forgives throttles, never a guess budget (those are columns above).
CREATE UNLOGGED TABLE throttle (
    key      bytea       PRIMARY KEY,
    ready_at timestamptz NOT NULL
);
SELECT platform_wide('throttle');
GRANT DELETE ON throttle TO identity_relay;
SELECT open_to_relay('session', 'SELECT, DELETE');
SELECT open_to_relay('sign_in', 'SELECT, DELETE');
SELECT open_to_relay('password_reset', 'SELECT, DELETE');
SELECT open_to_relay('known_device', 'SELECT, DELETE');

-- OpenID provider: clients, pushed requests, flows, grants, codes, refresh
-- tokens, consents, logout deliveries, signing keys. Secrets are kept as
-- SHA-256; private keys under the key-encryption key.

CREATE TABLE client (
    caisse text NOT NULL REFERENCES caisse (slug),
    client_id text NOT NULL,
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'disabled')),
    metadata jsonb NOT NULL,
    secret_hash bytea,
    registration_token_hash bytea,
    registered_by text NOT NULL CHECK (registered_by IN ('operator', 'dynamic')),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (caisse, client_id),
    -- A client's own subject can never be mistaken for a person's or a firm's (openid.md, line 23).
    CHECK (client_id !~ '^(per|adh|cab|mch|acc|mdt)_')
);
SELECT protect_by_caisse('client');

CREATE TABLE initial_access_token (
    caisse text NOT NULL REFERENCES caisse (slug),
    token_hash bytea NOT NULL,
    profile text NOT NULL CHECK (profile IN ('fapi', 'standard', 'compat')),
    uses_left integer NOT NULL CHECK (uses_left >= 0),
    expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (caisse, token_hash)
);
SELECT protect_by_caisse('initial_access_token');

-- RFC 9126: kept until completion, not until the first view.
CREATE TABLE pushed_request (
    caisse text NOT NULL,
    handle_hash bytea NOT NULL,
    client_id text NOT NULL,
    request jsonb NOT NULL,
    expires_at timestamptz NOT NULL,
    spent_at timestamptz,
    PRIMARY KEY (caisse, handle_hash)
);
CREATE INDEX pushed_request_expiry ON pushed_request (expires_at);
SELECT protect_by_caisse('pushed_request');

-- An authorization request waiting for its person, bound to one browser.
CREATE TABLE authorization_flow (
    caisse text NOT NULL,
    id uuid NOT NULL,
    browser_hash bytea NOT NULL,
    client_id text NOT NULL,
    request jsonb NOT NULL,
    session_id uuid,
    account_id uuid,
    context_chosen boolean NOT NULL DEFAULT false,
    person_confirmed boolean NOT NULL DEFAULT false,
    consented_at timestamptz,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    finished_at timestamptz,
    PRIMARY KEY (caisse, id)
);
CREATE INDEX authorization_flow_expiry ON authorization_flow (expires_at);
SELECT protect_by_caisse('authorization_flow');

-- What a person granted to a client, once. Codes, refresh tokens and access
-- tokens (through their jti) all point here, so one update kills them together.
CREATE TABLE authorization_grant (
    caisse text NOT NULL,
    id uuid NOT NULL,
    client_id text NOT NULL,
    person_id uuid NOT NULL,
    session_id uuid NOT NULL,
    account_id uuid,
    consent_id uuid,
    granted jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    revoked_why text,
    PRIMARY KEY (caisse, id)
);
CREATE INDEX authorization_grant_session ON authorization_grant (caisse, session_id);
CREATE INDEX authorization_grant_person ON authorization_grant (caisse, person_id, client_id);
CREATE INDEX authorization_grant_expiry ON authorization_grant (expires_at);
SELECT protect_by_caisse('authorization_grant');

CREATE TABLE authorization_code (
    caisse text NOT NULL,
    code_hash bytea NOT NULL,
    grant_id uuid NOT NULL,
    redirect_uri text NOT NULL,
    code_challenge text,
    dpop_jkt text,
    nonce text,
    expires_at timestamptz NOT NULL,
    consumed_at timestamptz,
    PRIMARY KEY (caisse, code_hash)
);
CREATE INDEX authorization_code_expiry ON authorization_code (expires_at);
SELECT protect_by_caisse('authorization_code');

CREATE TABLE refresh_token (
    caisse text NOT NULL,
    token_hash bytea NOT NULL,
    grant_id uuid NOT NULL,
    dpop_jkt text,
    issued_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    spent_at timestamptz,
    PRIMARY KEY (caisse, token_hash)
);
CREATE INDEX refresh_token_grant ON refresh_token (caisse, grant_id);
CREATE INDEX refresh_token_expiry ON refresh_token (expires_at);
SELECT protect_by_caisse('refresh_token');

-- Proofs and assertions seen once. Four fixed buckets of a quarter of an hour,
-- by expiry: no row outlives ten minutes, so a bucket whose quarter is over is
-- emptied by TRUNCATE and the table never grows with the traffic.
CREATE TABLE seen_jti (
    caisse text NOT NULL,
    bucket smallint NOT NULL CHECK (bucket BETWEEN 0 AND 3),
    kind text NOT NULL,
    party text NOT NULL,
    jti text NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (caisse, bucket, kind, party, jti)
) PARTITION BY LIST (bucket);
CREATE TABLE seen_jti_0 PARTITION OF seen_jti FOR VALUES IN (0);
CREATE TABLE seen_jti_1 PARTITION OF seen_jti FOR VALUES IN (1);
CREATE TABLE seen_jti_2 PARTITION OF seen_jti FOR VALUES IN (2);
CREATE TABLE seen_jti_3 PARTITION OF seen_jti FOR VALUES IN (3);
SELECT protect_by_caisse('seen_jti');
SELECT protect_by_caisse('seen_jti_0');
SELECT protect_by_caisse('seen_jti_1');
SELECT protect_by_caisse('seen_jti_2');
SELECT protect_by_caisse('seen_jti_3');

-- Access tokens revoked one by one (RFC 7009); ten minutes at most.
CREATE TABLE revoked_token (
    caisse text NOT NULL,
    jti text NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (caisse, jti)
);
CREATE INDEX revoked_token_expiry ON revoked_token (expires_at);
SELECT protect_by_caisse('revoked_token');

CREATE TABLE consent (
    caisse text NOT NULL,
    id uuid NOT NULL,
    person_id uuid NOT NULL,
    client_id text NOT NULL,
    account_id uuid,
    scopes text[] NOT NULL,
    details jsonb NOT NULL DEFAULT '[]',
    given_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    PRIMARY KEY (caisse, id)
);
CREATE INDEX consent_person ON consent (caisse, person_id, client_id);
SELECT protect_by_caisse('consent');

-- OpenID Connect Back-Channel Logout: at least once, leased, retried.
CREATE TABLE logout_delivery (
    caisse text NOT NULL,
    id uuid NOT NULL,
    client_id text NOT NULL,
    session_id uuid NOT NULL,
    subject text NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL,
    leased_until timestamptz,
    delivered_at timestamptz,
    abandoned_at timestamptz,
    last_answer text,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (caisse, id)
);
CREATE INDEX logout_delivery_due ON logout_delivery (next_attempt_at)
    WHERE delivered_at IS NULL AND abandoned_at IS NULL;
SELECT protect_by_caisse('logout_delivery');

CREATE TABLE signing_key (
    caisse text NOT NULL REFERENCES caisse (slug),
    kid text NOT NULL,
    algorithm text NOT NULL CHECK (algorithm IN ('ES256', 'EdDSA', 'PS256', 'RS256')),
    state text NOT NULL CHECK (state IN ('prepublished', 'active', 'verify_only', 'archived')),
    public_jwk jsonb NOT NULL,
    private_key_encrypted bytea,
    created_at timestamptz NOT NULL,
    activated_at timestamptz,
    retired_at timestamptz,
    archived_at timestamptz,
    PRIMARY KEY (caisse, kid),
    CHECK ((state = 'archived') = (private_key_encrypted IS NULL))
);
CREATE UNIQUE INDEX signing_key_one_active ON signing_key (caisse, algorithm) WHERE state = 'active';
CREATE UNIQUE INDEX signing_key_one_next ON signing_key (caisse, algorithm) WHERE state = 'prepublished';
SELECT protect_by_caisse('signing_key');

-- The sweepers of the worker see expired rows of every caisse.
SELECT open_to_relay('pushed_request', 'SELECT, DELETE');
SELECT open_to_relay('authorization_flow', 'SELECT, DELETE');
SELECT open_to_relay('authorization_grant', 'SELECT, DELETE');
SELECT open_to_relay('authorization_code', 'SELECT, DELETE');
SELECT open_to_relay('refresh_token', 'SELECT, DELETE');
SELECT open_to_relay('revoked_token', 'SELECT, DELETE');
SELECT open_to_relay('consent', 'SELECT, DELETE');
SELECT open_to_relay('logout_delivery', 'SELECT, UPDATE, DELETE');
SELECT open_to_relay('signing_key', 'SELECT');
GRANT TRUNCATE ON seen_jti_0, seen_jti_1, seen_jti_2, seen_jti_3 TO identity_relay;

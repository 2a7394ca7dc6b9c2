-- The portal holds no facts: only who is signed in, and the tokens that the
-- browser never sees, sealed under the key-encryption key.

CREATE TABLE pending_sign_in (
    caisse text NOT NULL,
    state_hash bytea NOT NULL,
    -- The browser that began: a state carried to another browser opens nothing.
    browser_hash bytea NOT NULL,
    sealed bytea NOT NULL,
    return_to text NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (caisse, state_hash)
);
CREATE INDEX pending_sign_in_expiry ON pending_sign_in (caisse, expires_at);
SELECT protect_by_caisse('pending_sign_in');

CREATE TABLE session (
    caisse text NOT NULL,
    id uuid NOT NULL,
    token_hash bytea NOT NULL,
    -- Identity's own session and subject, as the logout token names them.
    sid text NOT NULL,
    subject text NOT NULL,
    full_name text NOT NULL,
    adherent text,
    sealed bytea NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (caisse, id),
    UNIQUE (caisse, token_hash)
);
CREATE INDEX session_sid ON session (caisse, sid);
CREATE INDEX session_subject ON session (caisse, subject);
CREATE INDEX session_expiry ON session (caisse, expires_at);
SELECT protect_by_caisse('session');

-- One access token an audience, and one a mandate when acting for a client.
CREATE TABLE session_token (
    caisse text NOT NULL,
    session_id uuid NOT NULL,
    audience text NOT NULL,
    mandate text NOT NULL DEFAULT '',
    sealed bytea NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (caisse, session_id, audience, mandate),
    FOREIGN KEY (caisse, session_id) REFERENCES session (caisse, id) ON DELETE CASCADE
);
SELECT protect_by_caisse('session_token');

-- A logout token is heard once (OpenID Connect Back-Channel Logout 1.0 §2.6).
CREATE TABLE heard_logout (
    caisse text NOT NULL,
    jti text NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (caisse, jti)
);
SELECT protect_by_caisse('heard_logout');

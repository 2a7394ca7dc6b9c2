-- What a sign-in under way was given so far, and the level it must reach: from both, and from the person's factors,
-- one machine says what is asked next (sign_in/stages.py). Those begun before reach the level of a mailed code.
ALTER TABLE sign_in ADD COLUMN proven text[] NOT NULL DEFAULT '{pwd}';
ALTER TABLE sign_in ADD COLUMN acr text NOT NULL DEFAULT 'two_step';

-- An application counts as a second factor once the mailbox was proven with it. Those of before were enrolled with
-- whatever their sign-in asked, a password alone included: empty until their owner's mailbox is proven once.
ALTER TABLE totp_factor ADD COLUMN mailbox_proven_at timestamptz;

-- A secret being enrolled, for the one sign-in or session that it was shown to (`shown_to` is either's id). The
-- unconfirmed rows of `totp_factor` are the former place: nothing reads them any more.
CREATE TABLE totp_proposal (
    shown_to         uuid        PRIMARY KEY,
    person_id        uuid        NOT NULL REFERENCES person (id),
    secret_encrypted bytea       NOT NULL,
    expires_at       timestamptz NOT NULL
);
CREATE INDEX totp_proposal_of_person ON totp_proposal (person_id);
CREATE INDEX totp_proposal_due ON totp_proposal (expires_at);
SELECT platform_wide('totp_proposal');
GRANT DELETE ON totp_proposal TO identity_relay;

-- The link in the notice of a new application: beside setting a password, it removes what was added from then on.
ALTER TABLE password_reset ADD COLUMN disavowed_from timestamptz;

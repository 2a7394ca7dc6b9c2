-- A leaked key. It is archived, so that the version before publishes it no longer either, and it has no date of
-- retirement, by which both versions know the keys whose hints are still read. It stays so: a row that says when its
-- key was revoked has no private half, and no state but this one.
ALTER TABLE signing_key ADD COLUMN revoked_at timestamptz;
ALTER TABLE signing_key ADD CONSTRAINT signing_key_revoked_for_good
    CHECK (revoked_at IS NULL OR (state = 'archived' AND retired_at IS NULL));

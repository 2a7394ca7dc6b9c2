-- Secrets that were shown and never confirmed stand in `totp_proposal` now, for a quarter of an hour. Those of the
-- former place were shown for ever, to whoever had the password.
DELETE FROM totp_factor WHERE confirmed_at IS NULL;

-- A client that stops proving who it is loses what it was given while it did: its refresh tokens hang on that proof
-- alone. Grants made until this instant are over; NULL, as for every client so far, ends none.
ALTER TABLE client ADD COLUMN not_before timestamptz;

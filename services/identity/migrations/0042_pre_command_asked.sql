-- A command's key also holds what was asked, as a SHA-256: the same key with other
-- terms, or for another mandate, is refused instead of answered with the first receipt.
-- Keys of before, whose column is empty, answer nothing.
ALTER TABLE mandate_command ADD COLUMN asked bytea NOT NULL DEFAULT '';

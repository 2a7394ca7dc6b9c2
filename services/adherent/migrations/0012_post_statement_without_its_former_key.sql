-- The version before alone asked for one statement of a period and kind in the whole firm.
ALTER TABLE statement DROP CONSTRAINT statement_pkey;

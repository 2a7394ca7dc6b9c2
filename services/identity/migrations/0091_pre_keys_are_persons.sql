-- A command's key is its person's own: one that somebody else drew, or took beforehand, refuses them nothing. The
-- version before inserts without naming a constraint, and looks a key up whoever drew it: of two persons' keys alike
-- it may refuse a second sending, as it did the first.
ALTER TABLE mandate_command DROP CONSTRAINT mandate_command_pkey;
ALTER TABLE mandate_command ADD PRIMARY KEY (caisse, person_id, key);

-- A logout may be heard while the code of the very session it ends is being redeemed: what it named is kept as long as
-- its token could be sent again, and no session of that name is opened meanwhile. NULL in rows of the version before.
ALTER TABLE heard_logout ADD COLUMN sid text;
ALTER TABLE heard_logout ADD COLUMN subject text;
ALTER TABLE heard_logout ADD COLUMN issued_at timestamptz;
CREATE INDEX heard_logout_sid ON heard_logout (caisse, sid);
CREATE INDEX heard_logout_subject ON heard_logout (caisse, subject) WHERE sid IS NULL;

-- The step-up now comes before the page with the button, so that no pressed button
-- waits for it any more.
ALTER TABLE mandate_draft DROP COLUMN confirmed_at;

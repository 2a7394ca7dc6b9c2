-- Never written but by its default, and never read: neither by this version nor by the one before.
ALTER TABLE consent DROP COLUMN details;

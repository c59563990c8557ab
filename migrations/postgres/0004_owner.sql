-- The same as migrations/sqlite/0004_owner.sql, which says what it is for.

ALTER TABLE resource ADD COLUMN owner TEXT;

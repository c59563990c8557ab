-- The set of objects that an object was applied with (`apply --owner NAME`), so that those which are no longer in
-- the files of that set can be removed, and nothing else. NULL = it is in no set.

ALTER TABLE resource ADD COLUMN owner TEXT;

-- The configuration: what it is now, how it came to be, and who changed it.
--
-- Rules between objects live in code (pigeon-proto's `validate`), in one place for the admin, the CLI and
-- the proxies, so there are no foreign keys between objects here. Integers and text only, times in Unix
-- milliseconds, so that another database can hold the same tables.

-- One row. Its revision is the serialiser of all writes: every write begins by counting it up.
CREATE TABLE meta (
    one         INTEGER PRIMARY KEY CHECK (one = 1),
    cluster_id  TEXT    NOT NULL,                   -- proxies refuse a configuration of another cluster
    generation  INTEGER NOT NULL,                   -- grows when a backup is restored
    revision    INTEGER NOT NULL                    -- of the newest write
) STRICT;

-- The objects as they are now.
CREATE TABLE resource (
    kind            TEXT    NOT NULL,
    name            TEXT    NOT NULL,
    uid             TEXT    NOT NULL UNIQUE,        -- tells a new object from an old one of the same name
    create_revision INTEGER NOT NULL,
    mod_revision    INTEGER NOT NULL,
    created_ms      INTEGER NOT NULL,
    updated_ms      INTEGER NOT NULL,
    updated_by      TEXT    NOT NULL,
    labels          TEXT    NOT NULL,               -- JSON object of texts
    spec            TEXT    NOT NULL,               -- JSON, every default written out
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;

-- What every revision did, in order: the log that other readers of the store can follow.
CREATE TABLE change (
    revision INTEGER NOT NULL,
    seq      INTEGER NOT NULL,                      -- place within the revision, from 0
    kind     TEXT    NOT NULL,
    name     TEXT    NOT NULL,
    op       TEXT    NOT NULL CHECK (op IN ('put', 'del')),
    spec     TEXT,                                  -- NULL for del
    PRIMARY KEY (revision, seq)
) STRICT, WITHOUT ROWID;

-- Who did it: one row for each object that a revision changed, in the same transaction.
CREATE TABLE audit (
    id         INTEGER PRIMARY KEY,
    revision   INTEGER NOT NULL,
    seq        INTEGER NOT NULL,
    at_ms      INTEGER NOT NULL,
    actor      TEXT    NOT NULL,
    source     TEXT    NOT NULL,                    -- IP address of the caller
    action     TEXT    NOT NULL CHECK (action IN ('create', 'update', 'delete')),
    kind       TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    before     TEXT,                                -- JSON document; NULL if it did not exist
    after      TEXT,                                -- JSON document; NULL if it was removed
    request_id TEXT    NOT NULL,
    UNIQUE (revision, seq)
) STRICT;

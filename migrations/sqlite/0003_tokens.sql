-- Tokens beside the first one, which is a file; and an audit that tells of them, too.
--
-- Making a token is no revision of the configuration: proxies have nothing to learn of it. So audit.revision
-- may be NULL, for which SQLite wants the table made anew.

CREATE TABLE token (
    id         TEXT    PRIMARY KEY,                 -- the middle of the token: pgn_<id>_<secret>
    name       TEXT    NOT NULL UNIQUE,             -- what the audit calls its holder
    role       TEXT    NOT NULL CHECK (role IN ('viewer', 'operator', 'editor', 'admin')),
    scope      TEXT    NOT NULL,                    -- JSON object of texts: labels that an object must have
    hash       TEXT    NOT NULL,                    -- SHA-256 of the whole token, in hexadecimal
    created_ms INTEGER NOT NULL,
    created_by TEXT    NOT NULL,
    expires_ms INTEGER,                             -- NULL = never
    used_ms    INTEGER                              -- about when it was used last; NULL = never
) STRICT, WITHOUT ROWID;

CREATE TABLE audit_with_tokens (
    id         INTEGER PRIMARY KEY,
    revision   INTEGER,                             -- NULL where the configuration did not change
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

INSERT INTO audit_with_tokens
SELECT id, revision, seq, at_ms, actor, source, action, kind, name, before, after, request_id FROM audit;

DROP TABLE audit;
ALTER TABLE audit_with_tokens RENAME TO audit;

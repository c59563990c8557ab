-- The same as migrations/sqlite/0003_tokens.sql, which says what it is for.


CREATE TABLE token (
    id         TEXT   PRIMARY KEY,
    name       TEXT   NOT NULL UNIQUE,
    role       TEXT   NOT NULL CHECK (role IN ('viewer', 'operator', 'editor', 'admin')),
    scope      TEXT   NOT NULL,
    hash       TEXT   NOT NULL,
    created_ms BIGINT NOT NULL,
    created_by TEXT   NOT NULL,
    expires_ms BIGINT,
    used_ms    BIGINT
);

ALTER TABLE audit ALTER COLUMN revision DROP NOT NULL;

-- Specs spread into columns, so that `sqlite3 pigeon.db 'select * from engines'` reads well when the admin
-- is down. The code uses none of them; the JSON paths are those of docs/configuration.md.

CREATE VIEW listeners AS
SELECT name,
       json_extract(spec, '$.address')                AS address,
       json_extract(spec, '$.max_connections')        AS max_connections,
       json_extract(spec, '$.max_concurrent_streams') AS max_concurrent_streams,
       mod_revision AS revision, updated_by
FROM resource WHERE kind = 'listener';

CREATE VIEW engines AS
SELECT name,
       (SELECT group_concat(json_extract(e.value, '$.address'), ' ')
          FROM json_each(resource.spec, '$.endpoints') AS e) AS endpoints,
       json_extract(spec, '$.balance')    AS balance,
       json_extract(spec, '$.protocol')   AS protocol,
       json_extract(spec, '$.pool.mode')  AS mode,
       json_extract(spec, '$.pool.slots') AS slots,
       mod_revision AS revision, updated_by
FROM resource WHERE kind = 'engine';

CREATE VIEW pools AS
SELECT name AS engine,
       json_extract(spec, '$.pool.mode')            AS mode,
       json_extract(spec, '$.pool.slots')           AS slots,
       json_extract(spec, '$.pool.loose_factor')    AS loose_factor,
       json_extract(spec, '$.pool.queue')           AS queue,
       json_extract(spec, '$.pool.queue_timeout')   AS queue_timeout,
       json_extract(spec, '$.pool.dial_timeout')    AS dial_timeout,
       json_extract(spec, '$.pool.idle_timeout')    AS idle_timeout,
       json_extract(spec, '$.pool.cancel_cooldown') AS cancel_cooldown
FROM resource WHERE kind = 'engine';

CREATE VIEW routes AS
SELECT name,
       json_extract(spec, '$.match.listener') AS listener,
       json_extract(spec, '$.match.host')     AS host,
       json_extract(spec, '$.match.grpc')     AS grpc,
       json_extract(spec, '$.match.path')     AS path,
       json_extract(spec, '$.match.methods')  AS methods,
       json_extract(spec, '$.engine')         AS engine,
       json_extract(spec, '$.priority')       AS priority,
       json_extract(spec, '$.timeout')        AS timeout,
       mod_revision AS revision, updated_by
FROM resource WHERE kind = 'route';
